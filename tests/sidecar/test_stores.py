"""Outputs to log stores, against strict fakes: each row of "which sink promises what", record by record."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from podpatterns.errors import ConfigError, Retryable
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.units import Duration, Url
from podpatterns.sidecar.batch import Batch, Source
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.http_client import Answer as Http
from podpatterns.sidecar.inputs.tail import TailConfig
from podpatterns.sidecar.outputs import Output, OutputConfig
from podpatterns.sidecar.outputs.elasticsearch import ElasticsearchConfig
from podpatterns.sidecar.outputs.loki import Entry as LokiEntry
from podpatterns.sidecar.outputs.loki import ignored
from podpatterns.sidecar.progress import Progress
from podpatterns.sidecar.runtime import Sidecar
from podpatterns.sidecar.sender import _reason
from podpatterns.sidecar.transforms.parse import ParseConfig
from podpatterns.testing import Answer
from podpatterns.testing.stores import FakeElasticsearch, FakeLoki, FakeOtlp, FakeSplunk, FakeStore


def configured(item: dict[str, Any]) -> OutputConfig:
    return decode(parse(json.dumps(item))[0], OutputConfig)


def loki(server: FakeLoki, **more: Any) -> OutputConfig:
    return configured({"type": "loki", "url": server.url, "labels": {"app": "shop"}, **more})


def elasticsearch(server: FakeElasticsearch, **more: Any) -> OutputConfig:
    return configured({"type": "elasticsearch", "url": server.url, "index": "logs", **more})


def otlp(server: FakeOtlp, **more: Any) -> OutputConfig:
    return configured({"type": "otlp", "url": server.url, **more})


def splunk(server: FakeSplunk, **more: Any) -> OutputConfig:
    return configured({"type": "splunk", "url": server.url, "token": str(TOKEN), **more})


STORES: dict[str, tuple[type[FakeStore], Callable[..., OutputConfig]]] = {
    "loki": (FakeLoki, loki),
    "elasticsearch": (FakeElasticsearch, elasticsearch),
    "otlp": (FakeOtlp, otlp),
    "splunk": (FakeSplunk, splunk),
}


@pytest.fixture(autouse=True)
def _token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file with the token of the fake Splunk."""
    monkeypatch.setattr(sys.modules[__name__], "TOKEN", tmp_path / "token")
    (tmp_path / "token").write_text("secret\n")


TOKEN = Path("token")


def batch(*records: dict[str, Any] | str, start: int = 0) -> Batch:
    """An encoded batch, of lines or of parsed records."""
    lines = [record.encode() if isinstance(record, str) else json.dumps(record).encode() for record in records]
    made = Batch(Source("app.log", "1-2-3/0"), None, start, start + sum(map(len, lines)) + len(lines), lines=lines)
    if any(isinstance(record, dict) for record in records):
        made = made.with_records([dict(record) for record in records if isinstance(record, dict)])
    made.encode({})
    return made


@asynccontextmanager
async def running(config: OutputConfig) -> AsyncIterator[Output]:
    output = config.build()
    await output.start()
    try:
        yield output
    finally:
        await output.stop()


def shipper(tmp_path: Path, output: OutputConfig, **more: Any) -> Sidecar:
    tail = TailConfig(paths=(f"{tmp_path}/app.log",), poll=Duration("2ms"))
    settings = {"linger": Duration("2ms"), "retry_cap": Duration("5ms"), **more}
    return Sidecar(
        SidecarConfig(
            inputs=(tail,),
            transforms=(ParseConfig(format="json"),),
            outputs=(output,),
            checkpoint=f"{tmp_path}/state/cp",
            **settings,
        )
    )


def numbered(tmp_path: Path, count: int, poison: int = 0) -> list[dict[str, Any]]:
    """A log of numbered records; every `poison`th has a mark."""
    records = [{"n": n, "poison": bool(poison and n % poison == 3)} for n in range(count)]
    (tmp_path / "app.log").write_text("".join(json.dumps(record) + "\n" for record in records))
    return records


def letters(tmp_path: Path) -> list[dict[str, Any]]:
    file = tmp_path / "state" / "dead-letters.ndjson"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def numbers(records: list[dict[str, Any]]) -> list[int]:
    return [record["n"] for record in records]


def checked(sidecar: Sidecar) -> None:
    assert [check for check in sidecar.status().checks if not check.ok] == []


# --- what all of them promise ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STORES)
async def test_a_store_that_will_never_take_it(tmp_path: Path, name: str) -> None:
    """404 for a request: its records are dead, with the store's words; `hold` makes it wait instead."""
    fake, config = STORES[name]
    async with fake() as server:
        server.default = Answer(404, b"no such thing")
        server.will(server.default)
        async with running(config(server)) as output:
            receipt = await output.deliver([batch({"n": 1}), batch({"n": 2}, {"n": 3})])
        assert receipt.rejected == dict.fromkeys([(0, 0), (1, 0), (1, 1)], "404 no such thing")
        server.will(server.default)
        with pytest.raises(Retryable, match="404 no such thing"):
            async with running(config(server, hold=[404])) as output:
                await output.deliver([batch({"n": 1})])


@pytest.mark.parametrize("name", STORES)
async def test_what_it_sends_is_well_formed(tmp_path: Path, name: str) -> None:
    """Odd records, and lines that nobody has parsed, arrive as they are."""
    fake, config = STORES[name]
    odd: list[dict[str, Any]] = [
        {"n": 0, "time": "2026-11-23T09:36:16.5Z", "level": "warn", "text": 'a "quoted" \u2028 line\n\x00\x7f'},
        {"n": 1, "time": "no time", "level": 7, "deep": {"a": [1, None, {"b": 2.5}], "": {}}, "big": 2**63 - 1},
        {"n": 2, "time": None, "level": None, "true": True, "list": [], "": "", "negative": -1},
        {"n": 3, "time": 1795426576.25, "message": "prose", "level": ["x"]},
    ]
    async with fake() as server:
        async with running(config(server)) as output:
            receipt = await output.deliver([batch(*odd), batch("a line", '"', "é\x7f", start=1000)])
        assert server.malformed == []
        assert receipt.rejected == {}
        assert [record["n"] for record in server.records[:4]] == [0, 1, 2, 3]
        assert [record["message"] for record in server.records[3:]] == ["prose", "a line", '"', "é\x7f"]
        for given, stored in zip(odd, server.records, strict=False):
            assert {name: stored[name] for name in given if name not in ("time", "level")} == {
                name: value for name, value in given.items() if name not in ("time", "level")
            }


@pytest.mark.parametrize("name", ["loki", "elasticsearch"])
async def test_a_delivery_repeated_is_stored_once(tmp_path: Path, name: str) -> None:
    """The answer is lost, and the same is sent again: stores that can tell keep it once."""
    fake, config = STORES[name]
    records = [{"n": n, "time": "2026-11-23T09:36:16Z"} for n in range(20)]
    async with fake() as server:
        for _ in range(2):  # as after a restart: another output, the same records
            async with running(config(server)) as output:
                await output.deliver([batch(*records)])
    assert numbers(server.records) == list(range(20))


# --- Loki ------------------------------------------------------------------------------------------------------------


async def test_loki_blocked_is_not_success(tmp_path: Path) -> None:
    """260: nothing was stored, though it begins with a 2; it is sent again, the same."""
    records = numbered(tmp_path, 5)
    async with FakeLoki() as server:
        server.will(Answer(260, b"blocked"), Answer(260))
        async with shipper(tmp_path, loki(server)) as sidecar:
            await sidecar.acknowledged(5)
        assert len({seen.body for seen in server.seen}) == 1
    assert numbers(server.records) == numbers(records)
    assert len(server.seen) == 3


async def test_loki_400_is_dead_and_not_sent_again(tmp_path: Path) -> None:
    """What was valid in the push has been stored: one request. Of entries with the same time Loki's words do not say
    which was ignored: all of them are in the dead letters, with these words."""
    numbered(tmp_path, 20, poison=10)
    async with FakeLoki() as server:
        server.refuse = lambda record: record["poison"]
        async with shipper(tmp_path, loki(server)) as sidecar:
            await server.received(1)
    assert len(server.seen) == 1
    assert len(server.records) == 18
    (reason,) = {letter["reason"] for letter in letters(tmp_path)}
    assert "entry too far behind" in reason
    assert reason.endswith("(what was valid in the same push has been stored)")
    assert (len(letters(tmp_path)), sidecar.ledger.dead) == (20, 20)
    checked(sidecar)


def timed(tmp_path: Path, count: int, poison: int, **more: Any) -> None:
    records = [
        {"n": n, "time": f"2026-11-28T10:00:{n % 60:02}.{n:03}Z", "poison": n % poison == 3, **more}
        for n in range(count)
    ]
    (tmp_path / "app.log").write_text("".join(json.dumps(record) + "\n" for record in records))


async def test_loki_names_what_it_has_ignored(tmp_path: Path) -> None:
    """Where each entry has a time of its own, and Loki lists all that it has ignored: they alone are dead."""
    timed(tmp_path, 40, poison=10)
    async with FakeLoki() as server:
        server.refuse = lambda record: record["poison"]
        async with shipper(tmp_path, loki(server)) as sidecar:
            await sidecar.acknowledged(36)
    assert len(server.seen) == 1
    assert [(letter["record"]["n"], letter["reason"]) for letter in letters(tmp_path)] == [
        (n, "400 entry too far behind") for n in (3, 13, 23, 33)
    ]
    checked(sidecar)


ENTRIES = [LokiEntry((), 1_795_860_939_000_000_000 + n * 1_500_000, f"line {n}") for n in range(3)]
TIMES = ["2026-11-28 10:15:39 +0000 UTC", "2026-11-28 10:15:39.0015 +0000 UTC", "2026-11-28 10:15:39.003 +0000 UTC"]
IGNORED = "entry with timestamp {} ignored, reason: 'entry out of order',\n"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (IGNORED.format(TIMES[1]) + "user 'a', total ignored: 1 out of 3 for stream: {}", [1]),
        (IGNORED.format(TIMES[0]) + IGNORED.format(TIMES[2]) + "user 'a', total ignored: 2 out of 3 for {}", [0, 2]),
        (IGNORED.format(TIMES[0]) + "user 'a', total ignored: 2 out of 3 for {}", None),  # not all are listed
        (IGNORED.format(TIMES[0]) + "user 'a', total ignored: 1 out of 2 for {}", None),  # another was refused before
        (IGNORED.format("2026-11-28 10:15:40 +0000 UTC") + "total ignored: 1 out of 3 for {}", None),
        (IGNORED.format(TIMES[0]) * 2 + "total ignored: 2 out of 3 for {}", None),
        (IGNORED.format("yesterday at noon") + "total ignored: 1 out of 3 for {}", None),
        ("max entry size '256' bytes exceeded for stream '{}'", None),
        ("", None),
    ],
)
def test_what_loki_says_it_has_ignored(body: str, named: list[int] | None) -> None:
    """Only what is sure counts. The words are those of Loki's ingester (pkg/ingester/stream.go)."""
    found = ignored(body.encode(), ENTRIES)
    assert (None if found is None else sorted(found)) == named
    several = [entry._replace(stream=(str(at),)) for at, entry in enumerate(ENTRIES)]
    assert ignored(body.encode(), several) is None, "of several streams Loki speaks of one"


async def test_loki_too_large_is_halved(tmp_path: Path) -> None:
    """413 stores nothing: the halves are sent, and only what is too large alone is dead."""
    numbered(tmp_path, 4)
    async with FakeLoki() as server:
        server.will(Answer(413), Answer(413), Answer(413, b"too large"))
        async with shipper(tmp_path, loki(server)) as sidecar:
            await sidecar.acknowledged(3)
    assert numbers(server.records) == [1, 2, 3]
    assert [(letter["record"]["n"], letter["reason"]) for letter in letters(tmp_path)] == [(0, "413 too large")]
    checked(sidecar)


async def test_loki_labels_and_times() -> None:
    """Label fields make streams, what is no label's value makes none; the time is the record's, to the nanosecond."""
    settings = {"label_fields": ["level", "http.code"], "tenant": "t1"}
    async with FakeLoki() as server, running(loki(server, **settings)) as output:
        await output.deliver([
                batch(
                    {"level": "info", "http.code": 200, "time": "2026-11-23T09:36:16.123456789Z"},
                    {"level": "", "http.code": None, "time": "23/Nov/2026:09:36:16 +0000"},
                    {"level": {"x": 1}, "http.code": True, "time": 1795426576},
                )
            ])  # fmt: skip
    assert [labels for labels, _, _ in server.entries] == [
        {"app": "shop", "level": "info", "http_code": "200"},
        {"app": "shop"},
        {"app": "shop", "http_code": "true"},
    ]
    assert [when for _, when, _ in server.entries] == [1795426576123456789, 1795426576000000000, 1795426576000000000]
    assert server.seen[0].headers["X-Scope-OrgID"] == "t1"


async def test_loki_keeps_equal_lines() -> None:
    """Equal messages of the same second are all kept: their times differ by their position in the file."""
    record = {"message": "again", "time": "2026-11-23T09:36:16Z"}
    async with FakeLoki() as server, running(loki(server, line="message")) as output:
        await output.deliver([batch(record, record, record)])
        await output.deliver([batch(record, record, start=900)])
    assert len(server.entries) == 5
    assert {when // 10**9 for _, when, _ in server.entries} == {1795426576}


# --- Elasticsearch ---------------------------------------------------------------------------------------------------


async def test_elasticsearch_goes_by_each_item(tmp_path: Path) -> None:
    """Half the items fail for now and two for ever: only the former are sent again, only the latter are dead."""
    records = numbered(tmp_path, 40, poison=20)
    tries: dict[int, int] = {}

    def status(document: Any) -> int:
        tries[document["n"]] = tries.get(document["n"], 0) + 1
        return {1: 429, 2: 503}.get(tries[document["n"]], 201) if document["n"] % 2 else 201

    async with FakeElasticsearch() as server:
        server.refuse, server.status = lambda document: document["poison"], status
        async with shipper(tmp_path, elasticsearch(server)) as sidecar:
            await sidecar.acknowledged(38)
    assert server.asked == [40, 18, 18]
    assert sorted(numbers(server.records)) == [record["n"] for record in records if not record["poison"]]
    assert [letter["record"]["n"] for letter in letters(tmp_path)] == [3, 23]
    assert {letter["reason"] for letter in letters(tmp_path)} == {"400 some_exception: answer 400"}
    checked(sidecar)


async def test_elasticsearch_in_several_requests(tmp_path: Path) -> None:
    """More records than one request takes: a request that fails keeps nothing of the others from being settled."""
    made = batch(*[{"n": n} for n in range(4500)])
    async with FakeElasticsearch() as server:
        server.status = lambda document: 429 if document["n"] == 1000 and len(server.asked) == 0 else 201
        async with running(elasticsearch(server)) as output:
            with pytest.raises(Retryable, match="1 records have to be sent again: 429"):
                await output.deliver([made])
            await output.deliver([made])
    assert server.asked == [2000, 2000, 500, 1]
    assert sorted(numbers(server.records)) == list(range(4500))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"errors": false, "items": []}',
        b'{"errors": true, "items": [{"create": {}}]}',
        b'{"errors": tr',
        b'{"errors": true, "items": [{"create": {"status": 400, "error": {"reason": "\xff"}}}]}',
        b'{"x": ' + b"[" * 100_000,
    ],
    ids=range(7),
)
async def test_an_answer_that_is_none_is_no_success(body: bytes) -> None:
    """200 without a verdict on each item settles nothing."""
    async with FakeElasticsearch() as server:
        server.will(Answer(200, body))
        with pytest.raises(Retryable):
            async with running(elasticsearch(server)) as output:
                await output.deliver([batch({"n": 1})])


async def test_elasticsearch_refusing_everything_costs_little() -> None:
    """A mapping that fits no record makes dead letters of all of them, and keeps the process from nothing else."""
    made = batch(*(f"line {number}" for number in range(16_000)))
    output: Any = ElasticsearchConfig(url=Url("http://x"), index="logs").build()

    async def took(status: int) -> float:
        progress = Progress([made], output.items([made]))
        began = time.process_time()
        for numbers in list(progress.chunks(output.COUNT)):
            items = [{"create": {"status": status, "error": {"type": "t", "reason": "r"}}}] * len(numbers)
            await output.taken(progress, numbers, Http(200, {}, json.dumps({"errors": True, "items": items}).encode()))
        assert not progress.left
        assert len(progress.receipt().rejected) == (16_000 if status == 400 else 0)
        return time.process_time() - began

    await took(201)
    assert await took(400) < 5 * await took(201) + 0.1


async def test_elasticsearch_timestamps() -> None:
    """`@timestamp` is the record's own, or its time, or now; an id is the event's."""
    made = batch({"@timestamp": "2026-01-01T00:00:00Z"}, {"time": "23/Nov/2026:09:36:16 +0100"}, {})
    async with FakeElasticsearch() as server, running(elasticsearch(server)) as output:
        await output.deliver([made])
    stamps = [record["@timestamp"] for record in server.records]
    assert stamps[:2] == ["2026-01-01T00:00:00Z", "2026-11-23T08:36:16.000000Z"]
    assert stamps[2].startswith("20")
    assert list(server.documents) == made.ids


# --- OTLP ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 408, 500, 501])
async def test_otlp_tries_nothing_else_again(tmp_path: Path, status: int) -> None:
    """Only 429, 502, 503 and 504 may be sent again: after anything else the records are dead, after one request."""
    numbered(tmp_path, 3)
    async with FakeOtlp() as server:
        server.will(Answer(status, b"no"))
        async with shipper(tmp_path, otlp(server)) as sidecar:
            await server.received(1)
    assert (len(server.seen), server.records) == (1, [])
    assert [letter["reason"] for letter in letters(tmp_path)] == [f"{status} no"] * 3
    checked(sidecar)


async def test_otlp_partial_success_is_counted(tmp_path: Path) -> None:
    """Rejected and not named: not sent again, nothing is dead, and the ledger knows them as refused."""
    numbered(tmp_path, 30, poison=10)
    async with FakeOtlp() as server:
        server.refuse = lambda record: record["poison"]
        async with shipper(tmp_path, otlp(server)) as sidecar:
            await sidecar.acknowledged(27)
    assert (len(server.seen), len(server.records)) == (1, 27)
    assert letters(tmp_path) == []
    account = sidecar.ledger
    assert (account.read, account.acknowledged, account.refused, account.balanced) == (30, 27, 3, True)
    registry = sidecar.context.telemetry.registry
    assert registry.get_sample_value("podpatterns_sidecar_refused_records_total", {"output": "otlp"}) == 3
    assert [check.name for check in sidecar.status().checks if not check.ok] == ["lines lost = 0"]


async def test_otlp_warning_loses_nothing(tmp_path: Path) -> None:
    """A partial success with a message and none rejected is a warning."""
    numbered(tmp_path, 3)
    async with FakeOtlp() as server:
        server.will(Answer(200, b'{"partialSuccess": {"errorMessage": "deprecated"}}'))
        async with shipper(tmp_path, otlp(server)) as sidecar:
            await sidecar.acknowledged(3)
    checked(sidecar)


async def test_otlp_log_records() -> None:
    """Body, severity and time are fields of their own; the rest are attributes; the resource is the one configured."""
    made = batch(
        {"message": "hi", "level": "warn", "time": "2026-11-23T09:36:16Z", "x": 1},
        {"level": "odd", "time": "odd"},
    )  # fmt: skip
    settings = {"resource": {"service.name": "shop"}, "event_id": True}
    async with FakeOtlp() as server, running(otlp(server, **settings)) as output:
        await output.deliver([made])
    assert server.resources == [{"service.name": "shop"}]
    first, second = server.logs
    assert (first["severityNumber"], first["severityText"], first["timeUnixNano"]) == (
        13,
        "warn",
        "1795426576000000000",
    )
    assert server.records == [
        {"message": "hi", "x": 1, "log.record.uid": made.ids[0]},
        {"level": "odd", "time": "odd", "log.record.uid": made.ids[1]},
    ]
    assert "body" not in second


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.lists(st.dictionaries(st.sampled_from(["message", "level", "time", "a", ""]), JSON), min_size=1, max_size=4))
def test_otlp_is_what_the_protobuf_definitions_say(records: list[dict[str, Any]]) -> None:
    """OpenTelemetry's own definitions read every request, and have as many log records in it as were sent."""
    config = configured({"type": "otlp", "url": "http://x", "resource": {"service.name": "shop"}, "event_id": True})
    output = config.build()
    request = json_format.Parse(output.body(output.items([batch(*records)])), ExportLogsServiceRequest())
    (resource,) = request.resource_logs
    assert [(each.key, each.value.string_value) for each in resource.resource.attributes] == [("service.name", "shop")]
    (scope,) = resource.scope_logs
    assert len(scope.log_records) == len(records)
    for record, given_ in zip(scope.log_records, records, strict=True):
        assert record.observed_time_unix_nano > 0
        assert record.HasField("body") == ("message" in given_)
        assert "log.record.uid" in [each.key for each in record.attributes]


# --- Splunk ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 1])
async def test_splunk_splits_at_the_event_it_names(tmp_path: Path, first: int) -> None:
    """What stands before it is there, it is dead, what stands behind it is sent. Whether Splunk counts from zero or
    from one is found out at the price of one event that may arrive twice; nothing is lost and nothing wrongly dead."""
    records = numbered(tmp_path, 40, poison=10)
    async with FakeSplunk() as server:
        server.first = first
        server.refuse = lambda record: record["poison"]
        async with shipper(tmp_path, splunk(server, index="main", host="pod-1")) as sidecar:
            await sidecar.acknowledged(36)
    arrived = numbers(server.records)
    assert sorted(set(arrived)) == [record["n"] for record in records if not record["poison"]]
    assert len(arrived) == 36 + (first == 0)
    assert [letter["record"]["n"] for letter in letters(tmp_path)] == [3, 13, 23, 33]
    # The one in doubt, the rest of the first request, and a rest after each of the others.
    assert len(server.seen) == 6 if first else 7
    assert {(event["index"], event["host"]) for event in server.events} == {("main", "pod-1")}
    checked(sidecar)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("poison", [{0}, {9}, {0, 9}, {0, 1, 2}, set(range(10)), {4}, {4, 5}, {8, 9}])
async def test_splunk_wherever_the_poison_is(tmp_path: Path, first: int, poison: set[int]) -> None:
    """The poison is dead, and nothing else is; everything else arrives."""
    numbered(tmp_path, 10)
    async with FakeSplunk() as server:
        server.first = first
        server.refuse = lambda record: record["n"] in poison
        async with shipper(tmp_path, splunk(server)) as sidecar:
            while sidecar.ledger.settled < 10:  # noqa: ASYNC110 - what is settled has no event
                await asyncio.sleep(0.002)
    assert set(numbers(server.records)) == set(range(10)) - poison
    assert [letter["record"]["n"] for letter in letters(tmp_path)] == sorted(poison)
    assert len(server.records) <= 10 - len(poison) + 1
    checked(sidecar)


async def test_splunk_number_that_makes_no_sense(tmp_path: Path) -> None:
    """A number beyond the request: nothing is sent again for ever, nothing is lost."""
    numbered(tmp_path, 3)
    async with FakeSplunk() as server:
        server.will(Answer(400, b'{"text": "no", "code": 6, "invalid-event-number": 4}'))
        async with shipper(tmp_path, splunk(server)) as sidecar:
            await server.received(1)
    assert len(letters(tmp_path)) == 3
    checked(sidecar)


async def test_splunk_acknowledges_what_it_has_indexed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `acknowledge` a request counts when the indexer says so, asked again until then; or it is sent again."""
    monkeypatch.setattr("podpatterns.sidecar.outputs.splunk.POLL", 0.001)
    async with FakeSplunk(polls=3) as server:
        async with running(splunk(server, acknowledge=True)) as output:
            await output.deliver([batch({"n": 1})])
        asked = [seen for seen in server.seen if "/ack" in seen.path]
        assert [json.loads(seen.body) for seen in asked] == [{"acks": [0]}] * 3
        assert {seen.headers["X-Splunk-Request-Channel"] in seen.path for seen in asked} == {True}
        server.polls = 10**9
        async with running(splunk(server, acknowledge=True, acknowledge_within="20ms")) as output:
            with pytest.raises(Retryable, match="not indexed within 20ms"):
                await output.deliver([batch({"n": 2})])


@pytest.mark.parametrize(
    "body", [b"\xff", b'{"text": "\xff"}', b'{"partialSuccess": "\xff"}', b'{"x": ' + b"[" * 60_000]
)
async def test_an_answer_in_no_form_at_all_breaks_nothing(body: bytes) -> None:
    """What a store or a proxy says with 200 and is not JSON counts as taken; with 400, as a reason."""
    for config, server in ((splunk, FakeSplunk()), (otlp, FakeOtlp())):
        async with server, running(config(server)) as output:
            server.will(Answer(200, body), Answer(400, body))
            assert (await output.deliver([batch({"n": 1})])).rejected == {}
            assert list((await output.deliver([batch({"n": 2})])).rejected) == [(0, 0)]


@pytest.mark.parametrize("acks", [{}, {"0": False}, {"0": True, "1": False}])
async def test_splunk_silence_is_no_acknowledgement(acks: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a yes to the one number that was asked about."""
    monkeypatch.setattr("podpatterns.sidecar.outputs.splunk.POLL", 0.001)
    async with FakeSplunk() as server:
        monkeypatch.setattr(server, "_acknowledge", lambda _: Answer(200, json.dumps({"acks": acks}).encode()))
        async with running(splunk(server, acknowledge=True, acknowledge_within="20ms")) as output:
            with pytest.raises(Retryable, match="not indexed within 20ms"):
                await output.deliver([batch({"n": 1})])


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("{type: loki, url: 'http://x', labels: {}}", "at least one label"),
        ("{type: loki, url: 'http://x', labels: {a-b: c}}", '"a-b" is no label'),
        ("{type: loki, url: 'http://x', labels: {a: b}, headers: {Host: y}}", "Host is set by the output itself"),
        (
            "{type: loki, url: 'http://x', labels: {a: b}, label_fields: [c, 0d]}",
            r"label_fields\[1\]: \"0d\" is no label",
        ),
        (
            "{type: loki, url: 'http://x', labels: {a: b}, label_fields: [c-d, c.d]}",
            r'label_fields\[1\]: "c.d" and "c-d" are one label, c_d',
        ),
        ("{type: elasticsearch, url: 'http://x', index: Logs}", "index"),
        ("{type: elasticsearch, url: 'http://x', index: _bulk}", "index"),
    ],
)
def test_what_cannot_be_sent_is_refused(item: str, said: str) -> None:
    """Before anything runs, with the reason."""
    with pytest.raises(ConfigError, match=said):
        decode(parse(item)[0], OutputConfig)


async def test_a_token_that_cannot_be_sent(tmp_path: Path) -> None:
    """It is waited for, with a word on it that does not hold it: whoever has made the file can mend it."""
    secret = tmp_path / "tok"
    async with FakeOtlp() as server, running(otlp(server, token=str(secret))) as output:
        for text in ("h\xfcsh", "hush\nhush"):
            secret.write_text(text)
            with pytest.raises(Retryable, match=f"what is in {secret} cannot be a token") as caught:
                await output.deliver([batch({"n": 1})])
            assert text not in str(caught.value)
        secret.unlink()
        with pytest.raises(OSError, match=r".") as missing:
            await output.deliver([batch({"n": 1})])
        assert _reason(missing.value) == f"No such file or directory: {secret}"
        secret.write_text("good\n")
        await output.deliver([batch({"n": 1})])


async def test_a_user_in_the_url(tmp_path: Path) -> None:
    """Is sent, unless a header or a token says otherwise."""
    (tmp_path / "token").write_text("token")
    for more, sent in (
        ({}, "Basic YW5uOnA6L3M="),
        ({"token": f"{tmp_path}/token"}, "ApiKey token"),
        ({"headers": {"authorization": "Own"}}, "Own"),
    ):
        async with FakeElasticsearch() as server:
            url = server.url.replace("//", "//ann:p%3A%2Fs@")
            item = {"type": "elasticsearch", "url": url, "index": "logs", **more}
            async with running(decode(parse(json.dumps(item))[0], OutputConfig)) as output:
                await output.deliver([batch({"n": 1})])
        headers = {name.lower(): value for name, value in server.seen[0].headers.items()}
        assert (headers["authorization"], "ann" in headers["host"]) == (sent, False)


async def test_how_the_token_is_sent(tmp_path: Path) -> None:
    """As the store wants it; for Basic as user and password in Base64."""
    secret = tmp_path / "secret"
    secret.write_text("ann:pass\n")
    cases = [(loki, "Basic", "Basic YW5uOnBhc3M="), (elasticsearch, "ApiKey", "ApiKey ann:pass")]
    cases.append((otlp, "Bearer", "Bearer ann:pass"))
    for config, scheme, sent in cases:
        async with STORES[config.__name__][0]() as server:
            output = config(server, token=str(secret), authorization=scheme)
            async with running(output) as started:
                await started.deliver([batch({"n": 1})])
        assert server.seen[0].headers["Authorization"] == sent
