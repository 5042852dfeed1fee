"""Laws of metrics out of log lines: what is counted, what is refused, and files through rotation."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from podpatterns.adapter.config import AdapterConfig, SeriesConfig
from podpatterns.adapter.inputs import logs
from podpatterns.adapter.inputs.logs import LogMetricConfig, LogRuleConfig, LogsConfig
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.adapter.runtime import Adapter
from podpatterns.errors import ConfigError
from podpatterns.runtime import config as configuration
from podpatterns.runtime.units import Address, Duration
from tests.adapter.looking import samples, until

ACCESS = r'"(?P<method>[A-Z]+) \S+ [^"]*" (?P<status>\d{3}) (?P<bytes>\S+) (?P<ms>\S+)'
RULES = [
    LogRuleConfig(
        match=ACCESS,
        metrics=[
            LogMetricConfig(name="requests", labels={"method": "method", "code": "status"}),
            LogMetricConfig(name="bytes_total", value="bytes"),
            LogMetricConfig(name="took_seconds", kind="histogram", value="ms", scale=0.001),
            LogMetricConfig(name="last_ms", kind="gauge", value="ms", labels={"method": "method"}),
        ],
    ),
    LogRuleConfig(match="(?i)error", metrics=[LogMetricConfig(name="errors_total")]),
]


def line(method: str = "GET", status: int = 200, size: object = 10, ms: object = 30) -> str:
    return f'1.2.3.4 - - [now] "{method} /a HTTP/1.1" {status} {size} {ms}\n'


def made(source: LogsConfig, **series: object) -> AdapterConfig:
    page = PrometheusConfig(listen=Address("127.0.0.1:0"), final_scrape=Duration("0s"))
    return AdapterConfig(
        inputs=[source],
        outputs=[page],
        own_metrics=False,
        series=SeriesConfig(**series),  # type: ignore[arg-type]
    )


async def fed(source: LogsConfig, text: str, **series: object) -> tuple[dict[str, float], Adapter]:
    """What a page shows of lines that come in by a socket, in pieces."""
    async with Adapter(made(source, **series)) as adapter:
        _, writer = await asyncio.open_unix_connection(str(source.listen).removeprefix("unix:"))
        writer.write(text.encode())
        writer.close()
        await writer.wait_closed()
        await until(lambda: adapter.events.lines == text.count("\n"))
        return await samples(adapter), adapter


@pytest.fixture
def listen(tmp_path: Path) -> Address:
    return Address(f"unix:{tmp_path / 'logs.sock'}")


async def test_lines_are_counted_and_measured(listen: Address) -> None:
    """Lines by label, sums, buckets and last values; a line may match several rules, or none."""
    text = line() * 3 + line("POST", 500, 5, 300) + line(ms=80) + "an Error\nnothing\r\n" + line("POST", 500, 5, 7)
    found, adapter = await fed(LogsConfig(listen=listen, rules=RULES), text)
    assert found['requests_total{code="200",method="GET"}'] == 4
    assert found['requests_total{code="500",method="POST"}'] == 2
    assert found["bytes_total"] == 50
    assert found['took_seconds_bucket{le="0.05"}'] == 4
    assert found['took_seconds_bucket{le="0.1"}'] == 5
    assert found["took_seconds_count"] == 6
    assert found["took_seconds_sum"] == pytest.approx(0.477)
    assert found['last_ms{method="GET"}'] == 80
    assert found['last_ms{method="POST"}'] == 7
    assert found["errors_total"] == 1
    assert adapter.events.refused == {}
    assert dict(adapter.events._matched.series) == {("1",): 6, ("2",): 1}


async def test_values_that_are_none_are_refused_alone(listen: Address) -> None:
    """`-`, NaN, and what would make a counter go down; the rest of the line, and of the piece, counts."""
    text = line(size="-") + line(size="NaN", ms="1_0") + line(size=-3, ms="-5") + line(size=7, ms="1e400")
    found, adapter = await fed(LogsConfig(listen=listen, rules=RULES), text)
    assert found['requests_total{code="200",method="GET"}'] == 4
    assert found["bytes_total"] == 7
    assert found["took_seconds_count"] == 2
    assert adapter.events.refused == {"not_a_number": 3, "not_finite": 3, "negative_counter": 1}


async def test_the_budget_holds(listen: Address) -> None:
    """Labels with very many values end in the overflow series, and are counted as such; sums stay right."""
    text = "".join(line(status=status) for status in range(100, 150))
    found, adapter = await fed(LogsConfig(listen=listen, rules=RULES), text, budget_per_metric=10)
    assert sum(value for name, value in found.items() if name.startswith("requests_total")) == 50
    assert found['requests_total{overflow="true"}'] == 40
    assert sum(adapter.events.overflow.values()) == 40


async def test_json_and_logfmt_lines(listen: Address) -> None:
    """Fields by their names, filtered by others; numbers may be numbers or text, labels anything."""
    rule = LogRuleConfig(
        where={"level": "error", "ok": "true"},
        metrics=[
            LogMetricConfig(name="errors", labels={"code": "code"}),
            LogMetricConfig(name="took", kind="histogram", value="took"),
        ],
    )
    text = (
        '{"level":"error","ok":true,"code":5,"took":0.2}\n'
        '{"level":"error","ok":true,"code":[1],"took":"0.3"}\nprose\n'
        '{"level":"info","ok":true}\n{"level":"error","ok":true,"took":null}\n'
    )
    found, adapter = await fed(LogsConfig(listen=listen, format="json", rules=[rule]), text)
    counts = {'errors_total{code="5"}': 1, 'errors_total{code="[1]"}': 1, "errors_total": 1}
    assert {name: value for name, value in found.items() if name.startswith("errors")} == counts
    assert found["took_count"] == 2
    assert adapter.events.refused == {"not_a_number": 1}
    text = "level=error ok code=5 took=0.2\nlevel=error ok=true code=6 took=1\nlevel=info ok\n"
    found, _ = await fed(LogsConfig(listen=listen, format="logfmt", rules=[rule]), text)
    assert (found['errors_total{code="5"}'], found['errors_total{code="6"}']) == (1, 1)


async def test_access_logs_need_no_expression(listen: Address) -> None:
    """`combined` has the fields already."""
    rule = LogRuleConfig(metrics=[LogMetricConfig(name="hits", labels={"code": "status", "agent": "agent"})])
    text = '::1 - - [now] "GET / HTTP/1.1" 200 5 "-" "curl \\"x\\""\n'
    found, _ = await fed(LogsConfig(listen=listen, format="combined", rules=[rule]), text * 2)
    assert list(found.values()) == [2]


# --- files ------------------------------------------------------------------------------------------------------------

COUNT = [LogRuleConfig(match="x", metrics=[LogMetricConfig(name="x_total")])]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "EVERY", 0.01)


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


async def test_files_are_counted_through_rotation(tmp_path: Path) -> None:
    """Every line once: from the end on, where a file is there at the start; what has no end counts at the end."""
    log = tmp_path / "app.log"
    log.write_text("x before\nx half")
    config = LogsConfig(paths=[f"{tmp_path}/*.log*"], rules=COUNT)
    async with Adapter(made(config)) as adapter:
        append(log, " of a line that began before\nx 1\n")
        await until(lambda: adapter.events.lines == 1)
        log.rename(tmp_path / "app.log.1")
        append(tmp_path / "app.log.1", "x 2\n")
        append(log, "x 3\n")
        await until(lambda: adapter.events.lines == 3)
        (tmp_path / "later.log").write_text("x 4\nx 5")
        await until(lambda: adapter.events.lines == 4)
        append(log, "x at the end, not yet read")
    assert (await samples(adapter))["x_total"] == 6


async def test_a_file_may_be_read_from_its_beginning(tmp_path: Path) -> None:
    """Also one that is larger than a piece, and has a line that is: that is one line, of which the rest is not read."""
    log = tmp_path / "app.log"
    log.write_text("x\n" * 200_000 + "x" * 600_000 + "\nx\n")
    config = LogsConfig(paths=[str(log)], start="beginning", rules=COUNT)
    async with Adapter(made(config)) as adapter:
        await until(lambda: adapter.events.lines == 200_002)
        assert (await samples(adapter))["x_total"] == 200_002
        assert adapter.log_events.noted == {"truncated": 1}


async def test_a_change_of_the_configuration_loses_no_line(tmp_path: Path) -> None:
    """What has been written is counted by the rules that go; those that come go on behind it."""
    log = tmp_path / "app.log"
    log.write_text("")
    config = made(LogsConfig(paths=[str(log)], rules=COUNT))
    async with Adapter(config) as adapter:
        append(log, "x\n")
        await until(lambda: adapter.events.lines == 1)
        append(log, "x\n" * 999)
        await adapter.reload(made(LogsConfig(paths=[str(log)], rules=COUNT * 2)))
        append(log, "x\n")
        await until(lambda: adapter.events.lines == 1001)
        assert (await samples(adapter))["x_total"] == 1002


async def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    """A folder, a pipe, a file that is not there: the rest goes on."""
    (tmp_path / "a.log").mkdir()
    os.mkfifo(tmp_path / "b.log")
    (tmp_path / "c.log").write_text("")
    paths = [f"{tmp_path}/*.log", f"{tmp_path}/none", f"{tmp_path}/c.log/none"]
    async with Adapter(made(LogsConfig(paths=paths, rules=COUNT))) as adapter:
        append(tmp_path / "c.log", "x\n")
        await until(lambda: adapter.events.lines == 1)


# --- mistakes ---------------------------------------------------------------------------------------------------------

FILE = """\
adapter:
  inputs:
  - type: logs
    paths: [/var/log/app.log]
    {0}
  outputs:
  - type: prometheus
"""
MISTAKES = {
    "rules: [{match: '(', metrics: [{name: a}]}]": r"rules\[0\]\.match.*is not a regular expression",
    "rules: [{match: '(a+)+', metrics: [{name: a}]}]": r"rules\[0\]\.match.*can take forever",
    "rules: [{match: 'x', metrics: [{name: a, labels: {b: c}}]}]": r'rules\[0\]\.metrics\[0\]\.labels\.b.*no field "c"',
    "rules: [{match: 'x', metrics: [{name: a, kind: gauge}]}]": r"rules\[0\]\.metrics\[0\]\.value.*needs a value",
    "rules: [{match: 'x', metrics: [{name: a-b}]}]": r"metrics\[0\]\.name",
    "rules: [{match: 'x', metrics: [{name: a, labels: {le: c}}]}]": r"labels\.le",
    "rules: [{match: 'x', metrics: []}]": r"metrics.*measures nothing",
    "rules: [{metrics: [{name: a}]}]": r"rules\[0\]\.match.*needs a regular expression",
    "format: json\n    rules: [{match: x, metrics: [{name: a}]}]": r"rules\[0\]\.match.*has fields already",
    "format: combined\n    rules: [{metrics: [{name: a, value: size}]}]": r"metrics\[0\]\.value.*no field \"size\"",
    "listen: 'unix:/x'\n    rules: [{match: x, metrics: [{name: a}]}]": r"paths.*one of the two",
    "rules: []": r"rules.*nothing is counted",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_are_named(text: str, tmp_path: Path) -> None:
    """With their place, and what to do."""
    file = tmp_path / "f.yaml"
    file.write_text(FILE.format(text))
    with pytest.raises(ConfigError, match=MISTAKES[text]):
        configuration.load([file])
