"""Laws of series that are idle: what goes, what stays, and how it comes back."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.adapter.config import AdapterConfig, SeriesConfig
from podpatterns.adapter.expiry import Expiry
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.intake import Intake
from podpatterns.adapter.mapping import Mapper
from podpatterns.adapter.mapping_config import MappingRuleConfig
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.adapter.runtime import Adapter
from podpatterns.adapter.store import OVERFLOW, Shape, Store
from podpatterns.errors import ConfigError
from podpatterns.runtime import config as configuration
from podpatterns.runtime.service import Request
from podpatterns.runtime.units import Address, Duration
from tests.adapter.looking import until, values


class World:
    def __init__(self, *rules: MappingRuleConfig, **shape: object) -> None:
        self.now = 0.0
        self.refused: list[str] = []
        self.store = Store(
            Shape(histograms=False, **shape),  # type: ignore[arg-type]
            lambda: self.now,
            lambda _name: None,
            Mapper(rules),
        )
        self.intake = Intake(self.store, self)
        self.expiry = Expiry(self.store, self.intake, 10.0, lambda: self.now)

    def lines_taken(self, count: int) -> None: ...

    def line_skipped(self, what: str) -> None: ...

    def line_refused(self, reason: str, detail: str) -> None:
        self.refused.append(reason)

    def feed(self, *lines: str) -> World:
        self.intake.feed("\n".join(lines).encode())
        return self

    def after(self, seconds: float) -> dict[str, int]:
        """Let time go by, with a look at its beginning and its end."""
        found = self.expiry.sweep()
        self.now += seconds
        return dict(found + self.expiry.sweep())

    def samples(self) -> dict[str, float]:
        return values(self.store.families())


@pytest.mark.parametrize("line", ["x:5|g", "x:5|ms", "x:5|h|@0.5", "x:5|s"])
def test_idle_series_are_dropped(line: str) -> None:
    """Gauges, timers and sets go after the time, not before; nothing of them is remembered; they begin anew."""
    world = World().feed(line, line)
    assert world.after(9.9) == {}
    assert sum(world.after(0.1).values()) == 1
    assert (world.samples(), world.store.budget.taken, world.store.metrics, len(world.intake._known)) == ({}, 0, {}, 0)
    assert world.intake._known == {}
    assert world.expiry._since == {}
    fresh = World()
    fresh.now = world.now
    assert world.feed(line).samples() == fresh.feed(line).samples()
    assert world.store.budget.taken == 1


@pytest.mark.parametrize("line", ["x:5|g", "x:5|ms", "x:5|s", "x:0|ms"])
def test_each_sample_renews(line: str) -> None:
    """A series with samples stays however often they say the same."""
    world = World().feed(line)
    for _ in range(5):
        assert world.after(6) == {}
        world.feed(line)
    assert world.store.budget.taken == 1


def test_a_sample_of_any_rate_renews() -> None:
    """The parts of a series for several sample rates live and die together."""
    world = World().feed("x:1|h", "x:1|h|@0.5")
    for _ in range(5):
        assert world.after(6) == {}
        world.feed("x:1|h|@0.5")
    assert world.samples()["x_count"] == 1 + 6 * 2
    assert world.after(10) == {"summary": 1}
    assert world.feed("x:1|h", "x:1|h|@0.5").samples()["x_count"] == 3


def test_counters_keep_their_value() -> None:
    """An idle counter leaves the page, once, and is back with its sum at the first page after it has grown."""
    world = World().feed("c:5|c|#k:v", "c:1|c|#k:w", "c:2|c|@0.5|#k:v")
    assert world.after(9) == {}
    world.feed("c:1|c|#k:w")
    assert world.after(1) == {"counter": 1}
    assert world.samples() == {'c_total{k="w"}': 2.0}
    assert world.after(1) == {}
    assert world.store.budget.taken == 2
    world.feed("c:2|c|@0.5|#k:v")
    assert world.samples() == {'c_total{k="v"}': 13.0, 'c_total{k="w"}': 2.0}
    assert world.after(9) == {"counter": 1}
    assert world.samples() == {'c_total{k="v"}': 13.0}
    assert world.after(1) == {"counter": 1}
    assert world.samples() == {}


def test_what_is_dropped_makes_room() -> None:
    """The budget counts what is there; a free name may have another type; the overflow's end frees nothing more."""
    world = World(budget=2).feed("a:1|g|#k:1", "a:1|g|#k:2", "a:1|g|#k:3", "b:1|c")
    assert {"a" + OVERFLOW, "podpatterns_overflow_counters_total" + OVERFLOW} <= set(world.samples())
    assert world.after(10) == {"gauge": 3, "counter": 1}
    assert world.store.budget.taken == 0
    assert world.feed("a:1|h", "b:1|c").samples() == {"a_count": 1.0, "a_sum": 1.0, "b_total": 1.0}
    assert world.refused == []


def test_scaled_gauges_are_forgotten_too() -> None:
    """A line that reaches its gauge through a mapping rule's scale does not feed one that is gone."""
    world = World(MappingRuleConfig(match="x", name="y", scale=2.0)).feed("x:1|g", "x:1|g")
    assert world.after(10) == {"gauge": 1}
    assert world.feed("x:3|g").samples() == {"y": 6.0}


steps = st.lists(
    st.tuples(
        st.sampled_from(["c:1|c", "c:2|c|@0.5", "d:1|c|#k:v", "g:3|g", "t:2|h", "t:1|h|@0.5"]), st.integers(0, 7)
    ),
    max_size=30,
)


@given(steps)
def test_no_count_is_lost(given_steps: list[tuple[str, int]]) -> None:
    """Whatever comes and goes, a counter that is on the page has the sum of all; what has just come is on it."""
    world, forever = World(), World()
    for line, seconds in given_steps:
        world.after(seconds)
        world.feed(line)
        forever.feed(line)
        shown, every = world.samples(), forever.samples()
        name = line[0]
        assert any(key.startswith(name) for key in shown)
        assert all(value == every[key] for key, value in shown.items() if key[0] in "cdg")
        assert world.store.budget.taken == sum(len(metric.series) for metric in world.store.metrics.values())


def made(expire: str | None) -> AdapterConfig:
    anywhere = Address("127.0.0.1:0")
    return AdapterConfig(
        inputs=[StatsdConfig(listen=anywhere)],
        outputs=[PrometheusConfig(listen=anywhere, final_scrape=Duration("0s"))],
        series=SeriesConfig(expire=None if expire is None else Duration(expire)),
    )


async def test_the_running_adapter_lets_go(capsys: pytest.CaptureFixture[str]) -> None:
    """It looks by itself, says what it has dropped, and is well all the same; the default is to keep all."""
    async with Adapter(made("100ms")) as adapter:
        adapter.feed(b"g:1|g\nc:1|c\n")
        await until(lambda: adapter.events.expired == {"gauge": 1, "counter": 1})
        page = await adapter.page()
        assert b"\ng 1\n" not in page
        assert b"\nc_total 1\n" not in page
        assert b'podpatterns_adapter_series_expired_total{kind="gauge"} 1\n' in page
        data = (await adapter.routes()[0].handle(Request({}))).data
        assert (data["expired"], data["hidden_counters"]) == ({"gauge": 1, "counter": 1}, 1)
        adapter.feed(b"c:1|c\n")
        assert b"\nc_total 2\n" in await adapter.page()
        assert all(check.ok for check in adapter.status().checks)
    logged = capsys.readouterr()
    assert "adapter.series.expired" in logged.out + logged.err
    async with Adapter(made(None)):
        assert "expiry of series" not in {task.get_name() for task in asyncio.all_tasks()}


def test_it_cannot_be_at_once() -> None:
    """A time of nothing is a mistake."""
    text = "adapter: {inputs: [{type: statsd}], outputs: [{type: prometheus}], series: {expire: 0s}}"
    with pytest.raises(ConfigError, match=r"series\.expire"):
        configuration.loads([("a.yaml", text)])
