"""The memory budget: shares that fit under the limit, and a process that keeps to them while its output is down."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.budget import BATCHING, FLIGHT, LINE, READING, RECORD, USABLE, Budget, divided
from tests.sidecar.counting import Receiver, Shipper, until

MIB = 1 << 20


def test_without_a_limit_all_is_as_asked_for() -> None:
    """The defaults stand."""
    assert divided(None, 40 * MIB, batch=MIB, flight=8 * MIB) == Budget(8 * MIB, MIB)
    ample = divided(512 * MIB, 40 * MIB, batch=MIB, flight=8 * MIB)
    assert replace(ample, reading=sys.maxsize) == Budget(8 * MIB, MIB)


@given(
    limit=st.integers(1, 1 << 32),
    used=st.integers(0, 1 << 31),
    batch=st.integers(1024, 1 << 24),
    flight=st.integers(2048, 1 << 28),
    inputs=st.integers(1, 4),
    outputs=st.integers(1, 4),
)
def test_the_shares_fit(limit: int, used: int, batch: int, flight: int, inputs: int, outputs: int) -> None:  # noqa: PLR0917
    """Never more than asked for, never nothing, and under the limit unless it says how much is missing."""
    budget = divided(limit, used, batch=batch, flight=flight, inputs=inputs, outputs=outputs)
    assert 0 < budget.batch <= batch
    assert 0 < budget.flight <= flight
    assert min(budget.chunk, budget.lines, budget.records) > 0
    need = max(budget.chunk * READING, budget.lines * LINE) * inputs
    need += max(budget.batch * BATCHING, budget.records * RECORD) * outputs + int(budget.flight * FLIGHT)
    assert used + need - budget.short <= max(limit * USABLE, used)
    more = divided(2 * limit, used, batch=batch, flight=flight, inputs=inputs, outputs=outputs)
    assert (more.flight, more.batch, more.chunk) >= (budget.flight, budget.batch, budget.chunk)
    assert more.short <= budget.short


def test_objects_are_counted() -> None:
    """A batch of one short line takes more memory than its bytes, and so does a list of positions."""
    assert Batch.of(["x"]).overhead >= 512
    batch = Batch.of(["x"] * 1000).keep([True, False] * 500)
    assert batch.overhead >= 500 * 40


LIMIT = 64 * MIB


@pytest.mark.parametrize(
    ("transforms", "line"),
    [
        ("{type: parse, format: json}", '{"n": %d, "level": "info", "message": "line %d", "a": 1}\n'),
        ("{type: parse, format: json}", "%.0s%d\n"),
    ],
    ids=["fields", "short"],
)
@pytest.mark.timeout(90)
def test_memory_stays_under_the_limit(tmp_path: Path, transforms: str, line: str) -> None:
    """With the output down every stage fills up; then all is delivered, and at no time is it more than the limit."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "app.log").write_text("".join(line % (number, number) for number in range(200_000)))
    before = f"import podpatterns.sidecar.runtime as runtime\nruntime.memory_limit = lambda: {LIMIT}"
    with (
        Receiver() as receiver,
        Shipper(tmp_path, f'{{type: http, url: "{receiver.url}"}}', transforms=transforms) as shipper,
    ):
        receiver.up.clear()
        shipper.start(before=before)
        (divided_as,) = shipper.events("sidecar.memory.divided")
        assert receiver.refused.wait(20)

        def in_flight() -> int:
            ledger = shipper.ask("/ledger")["total"]
            return int(ledger["in_flight"])

        seen: list[int] = []
        while len(seen) < 10 or len(set(seen[-10:])) > 1:  # until reading waits
            time.sleep(0.02)
            seen.append(in_flight())
        down = shipper.peak()
        receiver.up.set()
        until(lambda: shipper.ask("/ledger")["total"]["acknowledged"] == 200_000, 60)
        peak = shipper.peak()
        assert shipper.end() == 0
    assert divided_as["limit_bytes"] == LIMIT
    assert down <= LIMIT, f"{down / MIB:.1f} MiB while the output was down"
    assert peak <= LIMIT, f"{peak / MIB:.1f} MiB"
    assert sum(receiver.messages.values()) == 200_000


def test_a_limit_that_is_too_small_is_said(tmp_path: Path) -> None:
    """The sidecar runs with the least of everything, and says by how much the limit is too small."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log").write_text("one\n")
    with Receiver() as receiver, Shipper(tmp_path, f'{{type: http, url: "{receiver.url}"}}') as shipper:
        shipper.start(before="import podpatterns.sidecar.runtime as runtime\nruntime.memory_limit = lambda: 20 << 20")
        (short,) = shipper.events("sidecar.memory.short")
        receiver.wait_for(1)
        assert shipper.end() == 0
    assert short["missing_bytes"] > MIB
    assert json.dumps(short).count("raise the container's memory limit") == 1
