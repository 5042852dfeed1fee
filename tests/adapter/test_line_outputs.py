"""Laws of the outputs that send lines: what was added since, whole lines in datagrams, events of CloudWatch, JSON."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from math import inf, nan
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.adapter.carriers import Carrier, Datagrams, File, StandardOutput, Stream, _datagrams
from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.deltas import ROUNDS, Deltas, adds_up
from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.outputs import OutputConfig, OutputContext
from podpatterns.adapter.outputs.cloudwatch import CloudwatchConfig
from podpatterns.adapter.outputs.graphite import GraphiteConfig
from podpatterns.adapter.outputs.influx import InfluxConfig as InfluxOutputConfig
from podpatterns.adapter.outputs.json import JsonConfig
from podpatterns.adapter.outputs.otlp import OtlpConfig
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.adapter.outputs.remote_write import RemoteWriteConfig
from podpatterns.adapter.outputs.statsd import StatsdConfig as StatsdOutputConfig
from podpatterns.adapter.pushing import Push, PushConfig
from podpatterns.adapter.runtime import Adapter
from podpatterns.adapter.transforms.cumulative import CumulativeConfig
from podpatterns.adapter.transforms.delta import DeltaConfig
from podpatterns.errors import Rejected, Retryable, StartError
from podpatterns.formats import emf, openmetrics, statsd, statsd_lines
from podpatterns.formats.families import Family
from podpatterns.runtime.schema import component_type
from podpatterns.runtime.telemetry import Telemetry
from podpatterns.runtime.units import Address, Duration, Url
from tests.adapter.looking import until
from tests.adapter.test_pushing import pushing

ANY = Address("127.0.0.1:0")


# --- what was added ---------------------------------------------------------------------------------------------------


def counter(*values: tuple[str, float], start: float | None = None) -> Family:
    family = Family("a_total", "counter", blocks=[text for text, _ in values], values=[value for _, value in values])
    family.starts = [start] * len(values)
    return family


def added(deltas: Deltas, family: Family, now: float) -> dict[str, float]:
    return {
        suffix + text: value
        for each in deltas.changes([family], now)
        for suffix, text, value in zip(each.suffixes or [""] * len(each.values), each.blocks, each.values, strict=True)
    }


def test_changes_add_up_to_the_sum() -> None:
    """A series of which it is known that it began since counts in full; one that was there before begins with now."""
    deltas = Deltas(100.0)
    assert added(deltas, counter(("", 7.0)), 110.0) == {}
    assert added(deltas, counter(("", 9.0)), 120.0) == {"": 2.0}
    assert added(deltas, counter(("", 9.0), ('{k="v"}', 5.0), start=115.0), 130.0) == {"": 0.0}
    assert added(deltas, counter(("", 3.0), ('{k="v"}', 5.0), ('{k="w"}', 4.0), start=130.0), 140.0) == {
        "": 3.0,  # smaller than before: it has begun anew
        '{k="v"}': 0.0,
        '{k="w"}': 4.0,
    }


def test_a_source_may_miss_some_rounds() -> None:
    """A series that is back is compared to what it was; after many rounds it is forgotten."""
    deltas = Deltas(100.0)
    added(deltas, counter(("", 7.0)), 110.0)
    for _ in range(ROUNDS - 2):
        deltas.changes([], 110.0)
    assert added(deltas, counter(("", 8.0)), 110.0) == {"": 1.0}
    for _ in range(ROUNDS):
        deltas.changes([], 110.0)
    assert added(deltas, counter(("", 9.0)), 110.0) == {}


PAGE = """\
# TYPE h histogram
h_bucket{k="v",le="1.0"} 1
h_bucket{k="v",le="+Inf"} 3
h_count{k="v"} 3
h_sum{k="v"} 4.5
h_created{k="v"} 105
# TYPE s summary
s{quantile="0.5"} 2
s_count 1
s_sum 2
s_created 105
# TYPE g gauge
g -1.5
g{k="x"} NaN
# EOF
"""


def test_histograms_and_summaries_add_up_too() -> None:
    """Buckets by the start of their series; quantiles and gauges stay as they are."""
    families = openmetrics.parse(PAGE)
    for each in families:
        each.stamps = None
    deltas = Deltas(100.0)
    first = {each.name: added(Deltas(100.0), each, 110.0) for each in families}
    assert first["h"] == {
        '_bucket{k="v",le="1.0"}': 1,
        '_bucket{k="v",le="+Inf"}': 3,
        '_count{k="v"}': 3,
        '_sum{k="v"}': 4.5,
    }
    assert first["s"] == {'{quantile="0.5"}': 2, "_count": 1, "_sum": 2}
    deltas.changes(families, 110.0)
    again = {each.name: each for each in deltas.changes(families, 120.0)}
    assert again["h"].values == [0, 0, 0, 0]
    assert again["s"].values == [2, 0, 0]
    assert again["g"].values[0] == -1.5


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=20))
def test_no_increment_is_lost_or_told_twice(steps: list[int]) -> None:
    """Whatever a counter does, the changes add up to what it has added since it was first seen."""
    deltas, total, told = Deltas(0.0), 0, 0.0
    for step in steps:
        total += step
        told += sum(added(deltas, counter(("", float(total))), 1.0).values())
    assert told == total - steps[0]


# --- StatsD -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("dogstatsd", ["a_total:2|c|#k:x:y,l:a_b\n", "g:-1.5|g\n"]),
        ("librato", ["a_total#k=x_y,l=a_b:2|c\n", "g:0|g\n", "g:-1.5|g\n"]),
        ("influx", ["a_total,k=x_y,l=a_b:2|c\n", "g:0|g\n", "g:-1.5|g\n"]),
        ("signalfx", ["a_total[k=x_y,l=a_b]:2|c\n", "g:0|g\n", "g:-1.5|g\n"]),
        ("none", ["a_total.x_y.a_b:2|c\n", "g:0|g\n", "g:-1.5|g\n"]),
    ],
)
def test_lines_in_every_style(tags: statsd_lines.Tags, expected: list[str]) -> None:
    """What was added is a counter, unless it is nothing; a gauge below zero is set and not changed; NaN has no line."""
    families = [
        Family("a_total", "counter", blocks=['{k="x:y",l="a,b"}', ""], values=[2.0, 0.0]),
        Family("g", "gauge", blocks=["", '{k="v"}'], values=[-1.5, nan]),
    ]
    lines = list(statsd_lines.render(families, tags, adds_up))
    assert lines == expected
    for line in lines:
        assert statsd.parse(line.rstrip().encode()).values


async def test_a_change_of_an_output_loses_nothing_and_tells_nothing_twice() -> None:
    """What it had told is known to the one that takes its place, also to one that is put back after a bad change."""
    page = PrometheusConfig(listen=ANY, final_scrape=Duration("0s"))
    taker = AdapterConfig(inputs=[StatsdConfig(listen=ANY, protocol="tcp")], outputs=[page], own_metrics=False)
    async with Adapter(taker) as far:
        address = far.inputs[0].address  # type: ignore[attr-defined]

        def config(hours: int, *more: OutputConfig) -> AdapterConfig:
            output = StatsdOutputConfig(address=address, protocol="tcp", interval=Duration(f"{hours}h"))
            return AdapterConfig(inputs=[StatsdConfig(listen=ANY)], outputs=[output, *more], own_metrics=False)

        async with Adapter(config(1)) as adapter:
            adapter.feed(b"a:3|c")
            await adapter.reload(config(2))
            adapter.feed(b"a:4|c\nb:1|c")
            with socket.create_server(("127.0.0.1", 0)) as server:
                taken = PrometheusConfig(listen=Address(f"127.0.0.1:{server.getsockname()[1]}"))
                with pytest.raises(StartError):
                    await adapter.reload(config(3, taken))
            adapter.feed(b"a:5|c")
        async with asyncio.timeout(10):
            while b"a_total 12\n" not in await far.page():  # noqa: ASYNC110 - over a connection there is no event
                await asyncio.sleep(0.01)
        assert b"b_total 1\n" in await far.page()
        assert adapter.events.lost == {}


async def test_what_statsd_is_sent_is_what_was_counted(tmp_path: Path) -> None:
    """Over UDP, TCP and both unix sockets, from one adapter to another: the same page, with the last samples."""
    for protocol in ("udp", "tcp"):
        for listen in (ANY, Address(f"unix:{tmp_path / f'{protocol}.sock'}")):
            page = PrometheusConfig(listen=ANY, final_scrape=Duration("0s"))
            taker = AdapterConfig(
                inputs=[StatsdConfig(listen=listen, protocol=protocol)],  # type: ignore[arg-type]
                outputs=[page],
                own_metrics=False,
            )
            async with Adapter(taker) as far:
                address = far.inputs[0].address  # type: ignore[attr-defined]
                output = StatsdOutputConfig(address=address, protocol=protocol, interval=Duration("1h"), prefix="x.")  # type: ignore[arg-type]
                async with Adapter(pushing(output)) as adapter:
                    adapter.feed(b"a:3|c|#k:v\nt:30|ms\ng:-2|g\na:4|c|#k:v")
                assert adapter.events.lost == {}
                await until(lambda far=far: far.events.lines >= 13)
                text = (await far.page()).decode()
            assert 'x_a_total{k="v"} 7\n' in text
            assert 'x_t_seconds_bucket_total{exported_le="0.05"} 1\n' in text
            assert "x_t_seconds_count_total 1\n" in text
            assert "x_g -2\n" in text


@given(st.lists(st.binary(min_size=1, max_size=40).map(lambda raw: raw.replace(b"\n", b"x")), max_size=20))
def test_datagrams_hold_whole_lines(lines: list[bytes]) -> None:
    """In order, as many as fit; a line that is longer goes alone."""
    found = list(_datagrams(b"".join(line + b"\n" for line in lines), 30))
    assert [line for datagram in found for line in datagram.split(b"\n")] == lines
    assert all(len(datagram) <= 30 or b"\n" not in datagram for datagram in found)


async def again(carrier: Carrier, body: bytes) -> None:
    for _ in range(50):
        await carrier.send(body)


async def test_a_body_that_may_have_been_counted_is_not_sent_again(tmp_path: Path) -> None:
    """Nobody there is tried again; gone in the middle is not, unless it says the same when it comes twice."""
    stream = Stream(Address(f"unix:{tmp_path}/none"), "it", repeatable=False)
    with pytest.raises(FileNotFoundError):
        await stream.send(b"a\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    datagrams = Datagrams(Address(f"127.0.0.1:{port}"), 10)
    with pytest.raises((Rejected, OSError)):
        await again(datagrams, b"aaaaaaaa\n" * 20)
    datagrams.close()

    async def gone(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(gone, "127.0.0.1", 0)
    address = Address(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    for repeatable in (False, True):
        stream = Stream(address, "it", repeatable=repeatable)
        with pytest.raises((Rejected, OSError, Retryable)) as error:
            await again(stream, b"a\n" * 1_000_000)
        assert repeatable is False or not isinstance(error.value, Rejected)
    server.close()


# --- CloudWatch -------------------------------------------------------------------------------------------------------


@pytest.mark.holds("embedded metric format")
def test_events_of_cloudwatch() -> None:
    """One event for each set of labels with at most 100 metrics; units by names; what does not fit is counted."""
    families = [Family(f"m{number}", "gauge", blocks=[""], values=[1.0]) for number in range(150)]
    families.append(Family("a_total", "counter", blocks=['{k="v"}'], values=[2.0]))
    blocks = ['{k="v",le="1"}', '{k="v"}', '{k="v"}']
    families.append(Family("t_seconds", "histogram", blocks=blocks, values=[1, 1, 0.5]))
    families[-1].suffixes = ["_bucket", "_count", "_sum"]
    families.append(Family("idle_total", "counter", blocks=[""], values=[0.0]))
    many = "{" + ",".join(f'l{number}="v"' for number in range(31)) + "}"
    families.append(Family("bad_bytes", "gauge", unit="bytes", blocks=["", many, '{k="v"}'], values=[nan, 1.0, 5.0]))
    lines, left_out = emf.render(
        families, "Shop", 12.3456, adds_up, labels={"pod": "p", "k": "x"}, about={"LogGroupName": "g"}
    )
    events = [json.loads(line) for line in lines]
    sizes = []
    for event in events:
        (directive,) = event["_aws"]["CloudWatchMetrics"]
        assert event["_aws"]["Timestamp"] == 12346
        assert event["_aws"]["LogGroupName"] == "g"
        assert directive["Namespace"] == "Shop"
        (dimensions,) = directive["Dimensions"]
        assert all(isinstance(event[name], str) for name in dimensions)
        assert all(isinstance(event[metric["Name"]], (int, float)) for metric in directive["Metrics"])
        sizes.append(len(directive["Metrics"]))
    assert sizes == [100, 50, 4]
    last = events[-1]
    assert {"k": "v", "pod": "p"}.items() <= last.items()
    units = {metric["Name"]: metric["Unit"] for metric in last["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert units == {
        "a_total": "Count",
        "t_seconds_count": "Count",
        "t_seconds_sum": "Seconds",
        "bad_bytes": "Bytes",
    }
    assert left_out == {"not_finite": 1, "too_many_labels": 1}


async def test_cloudwatch_is_written_to_a_file_and_an_agent(tmp_path: Path) -> None:
    """Changes for each interval, the last ones at the end; events whole in datagrams."""
    path = tmp_path / "emf.log"
    async with Adapter(
        pushing(CloudwatchConfig(namespace="Shop", path=str(path), interval=Duration("30ms")))
    ) as adapter:
        adapter.feed(b"a:3|c|#k:v")
        await until(path.exists)
        adapter.feed(b"a:4|c|#k:v\ng:1e999|g")
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert sum(event["a_total"] for event in events) == 7
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.bind(("127.0.0.1", 0))
        agent.settimeout(10)
        address = Address(f"127.0.0.1:{agent.getsockname()[1]}")
        config = CloudwatchConfig(namespace="Shop", address=address, protocol="udp", interval=Duration("1h"))
        async with Adapter(pushing(config)) as adapter:
            adapter.feed(b"a:3|c")
            assert json.loads(await adapter.page())["a_total"] == 3
        assert json.loads(await asyncio.to_thread(agent.recv, 65_536))["a_total"] == 3


# --- JSON -------------------------------------------------------------------------------------------------------------


async def test_json_lines(tmp_path: Path) -> None:
    """A line for each sample, in a file that may be moved away meanwhile; what JSON has no number for is text."""
    path = tmp_path / "metrics.jsonl"
    async with Adapter(pushing(JsonConfig(path=str(path), interval=Duration("20ms")))) as adapter:
        adapter.feed(b"a:3|c|#k:v")
        await until(path.exists)
        path.rename(tmp_path / "old")
        await until(path.exists)
        adapter.feed(b"a:4|c|#k:v")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[-1].pop("time") > 1.7e9
    assert lines[-1] == {"name": "a_total", "labels": {"k": "v"}, "value": 7.0, "kind": "counter"}
    family = Family("g", "gauge", unit="seconds", blocks=["", ""], values=[inf, nan], stamps=[1.5, None])
    from podpatterns.formats import json_samples

    first, second = map(json.loads, json_samples.render([family], 9.0))
    assert (first["value"], first["time"], first["unit"]) == ("+Inf", 1.5, "seconds")
    assert (second["value"], second["time"]) == ("NaN", 9.0)


async def test_standard_output_is_written_whole(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Also more than a pipe holds."""
    body = b"x" * 99 + b"\n"
    await StandardOutput().send(body * 5000)
    assert capfdbinary.readouterr().out == body * 5000


async def test_standard_output_that_nobody_reads() -> None:
    """A body whose deadline passes is waited for and not written twice; the end does not wait for it."""
    read, write = os.pipe()
    kept = os.dup(1)
    os.dup2(write, 1)
    try:
        output, body = StandardOutput(), b"x" * 200_000 + b"\n"
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(output.send(body), 0.05)
        received = b""
        sending = asyncio.create_task(output.send(body))
        while len(received) < len(body):
            received += await asyncio.to_thread(os.read, read, 65_536)
        await sending
        assert received == body
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(output.send(body), 0.05)
        output.close()
        assert output._under_way is not None
        async with asyncio.timeout(5):
            await output._under_way[1]
    finally:
        os.dup2(kept, 1)
        for descriptor in (read, write, kept):
            os.close(descriptor)


async def test_a_full_disk_leaves_nothing_by_halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written as a whole is taken back, and tried again."""
    path = tmp_path / "lines"
    carrier = File(str(path))
    await carrier.send(b"before\n")
    write = os.write

    def half(descriptor: int, data: memoryview) -> int:
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[: len(data) // 2])

    with monkeypatch.context() as full:
        full.setattr("podpatterns.adapter.carriers.os.write", half)
        with pytest.raises(OSError, match="No space"):
            await carrier.send(b"x" * 1000)
    assert path.read_bytes() == b"before\n"
    with pytest.raises(OSError, match="No space"):
        await File("/dev/full").send(b"x\n")


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: CloudwatchConfig(namespace="x", path="a", address=Address("b:1")), "path"),
        (lambda: CloudwatchConfig(namespace="x", address=Address(":1")), "address"),
        (lambda: CloudwatchConfig(namespace="x", labels={"_aws": "b"}), "labels._aws"),
        (lambda: JsonConfig(path="a", address=Address("b:1")), "path"),
        (lambda: JsonConfig(address=Address(":1")), "address"),
        (lambda: StatsdOutputConfig(address=Address(":1")), "address"),
    ],
)
def test_mistakes_are_named(make, field: str) -> None:  # type: ignore[no-untyped-def]
    """Each blames its field."""
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the field is what counts
        make()
    assert error.value.field == field  # type: ignore[attr-defined]


# --- what has no place ------------------------------------------------------------------------------------------------


class Given:
    """A source that has what it is given."""

    def __init__(self, *families: Family) -> None:
        self.families = list(families)

    async def collect(self, within: float) -> list[Family]:
        return self.families


QUANTILE = '{quantile="0.5"}'
FOUND = (
    Family("g", "gauge", blocks=["", '{k="v"}', '{k="w"}'], values=[1.5, nan, inf]),
    Family(
        "s", "summary", blocks=['{quantile="0.5"}', "", ""], values=[nan, 1.0, 2.0], suffixes=["", "_count", "_sum"]
    ),
    Family("h", "histogram", blocks=['{le="1"}', ""], values=[1.0, 1.0], suffixes=["_bucket", "_count"]),
)


@pytest.mark.parametrize(
    ("config", "left_out"),
    [
        (StatsdOutputConfig(address=Address("127.0.0.1:1")), {"statsd: not_finite": 3}),
        (GraphiteConfig(address=Address("127.0.0.1:1")), {"graphite: not_finite": 3}),
        (InfluxOutputConfig(url=Url("http://127.0.0.1:1/write")), {"influx: not_finite": 3}),
        (OtlpConfig(url=Url("http://127.0.0.1:1")), {"otlp: not_finite": 3, "otlp: bad_buckets": 1}),
        (CloudwatchConfig(namespace="Shop"), {"cloudwatch: not_finite": 3}),
        (JsonConfig(), {}),
        (RemoteWriteConfig(url=Url("http://127.0.0.1:1")), {}),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_what_a_format_has_no_place_for_is_counted(config: PushConfig, left_out: dict[str, int]) -> None:
    """By output and reason, with every delivery; all else is sent."""
    events = AdapterEvents(Telemetry())
    output = config.build(OutputContext(component_type(type(config)), Given(*FOUND), events))
    assert isinstance(output, Push)
    await output._take()
    assert events.left_out == left_out
    assert len(output._waiting) == 1
    await output.stop()


# --- transforms -------------------------------------------------------------------------------------------------------


def test_counters_become_changes_and_changes_counters() -> None:
    """The one undoes the other, for the metrics that are named; all else stays."""
    delta = DeltaConfig(metrics=["a_.*"]).build()
    cumulative = CumulativeConfig(metrics=["a"]).build()
    seen = []
    for value in (5.0, 7.0, 7.0, 2.0):
        other = Family("b_total", "counter", blocks=[""], values=[value])
        found = cumulative.apply(delta.apply([counter(("", value)), other]))
        seen.append({each.name: (each.kind, each.values[0]) for each in found})
    assert seen == [
        {"b_total": ("counter", 5.0)},
        {"b_total": ("counter", 7.0), "a_total": ("counter", 2.0)},
        {"b_total": ("counter", 7.0), "a_total": ("counter", 2.0)},
        {"b_total": ("counter", 2.0), "a_total": ("counter", 4.0)},
    ]
    (family,) = DeltaConfig().build().apply([counter(("", 1.0))]) or [None]
    assert family is None


def test_sums_without_room_go_to_one_series(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of what was added is lost when more series come than are kept."""
    monkeypatch.setattr("podpatterns.adapter.transforms.cumulative.MOST", 3)
    cumulative = CumulativeConfig(metrics=["a_total"]).build()
    for turn in range(1, 3):
        every = counter(*((f'{{user="{user}"}}', 2.0) for user in range(10)))
        (found,) = cumulative.apply([every])
        assert dict(zip(found.blocks, found.values, strict=True)) == {
            **{f'{{user="{user}"}}': 2.0 * turn for user in range(3)},
            '{overflow="true"}': 14.0 * turn,
        }


@pytest.mark.parametrize("transform", [DeltaConfig(), CumulativeConfig(metrics=["a_total"])])
def test_what_remembers_serves_one_output(transform: object) -> None:
    """With two outputs each would get a part of the changes: refused, with what to do."""
    page = PrometheusConfig(listen=ANY)
    made = {"inputs": [StatsdConfig(listen=ANY)], "transforms": [transform]}
    AdapterConfig(**made, outputs=[page])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="leave one output"):
        AdapterConfig(**made, outputs=[page, JsonConfig()])  # type: ignore[arg-type]
