"""Laws of the intake and the store: what lines add up to."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.adapter import repeats
from podpatterns.adapter.intake import Intake
from podpatterns.adapter.store import OVERFLOW, Shape, Store
from podpatterns.formats import prometheus
from tests.adapter.looking import values
from tests.adapter.tally import Tally


class World:
    def __init__(self, **shape: object) -> None:
        self.now = 0.0
        self.overflow: Counter[str] = Counter()
        self.sink = Tally()
        self.store = Store(Shape(**shape), lambda: self.now, lambda name: self.overflow.update([name]))  # type: ignore[arg-type]
        self.intake = Intake(self.store, self.sink)

    def feed(self, *lines: str, times: int = 1) -> World:
        for _ in range(times):
            self.intake.feed("\n".join(lines).encode())
        return self

    def samples(self) -> dict[str, float]:
        return values(self.store.families())


@pytest.mark.parametrize("times", [1, 3])
def test_counters_add_up_whatever_their_rate_and_tag_order(times: int) -> None:
    """A series is its name and tags, in any order and style; a sampled line counts 1/rate."""
    world = World().feed("a:1|c|#x:1,y:2", "a:2|c|#y:2,x:1", "a:1|c|@0.25|#x:1,y:2", "a,x=1,y=2:1:1|c", times=times)
    assert world.samples() == {'a_total{x="1",y="2"}': 9.0 * times}
    assert world.store.budget.taken == 1
    assert world.sink.lines == 4 * times


def test_gauges_are_set_and_changed() -> None:
    """A sign makes a change of it; the last value stays."""
    assert World().feed("g:5|g", "g:+2|g", "g:-3|g").samples() == {"g": 4.0}
    assert World().feed("g:5|g", "g:1|g").feed("g:7|g").samples() == {"g": 7.0}


def test_timers_become_seconds() -> None:
    """ms ÷ 1000; h and d stay; bounds are inclusive; sampled timers weigh fractions."""
    world = World(buckets=(0.1, 1.0)).feed("t:100|ms", "t:1000|ms|@0.5", "t:5000|ms")
    samples = world.samples()
    assert [samples[f't_seconds_bucket{{le="{le}"}}'] for le in ("0.1", "1", "+Inf")] == [1, 3, 4]
    assert samples["t_seconds_sum"] == pytest.approx(7.1)
    assert World(histograms=False).feed("d:4|d|#a:b").samples() == {'d_count{a="b"}': 1.0, 'd_sum{a="b"}': 4.0}


def test_sets_count_members_of_a_window() -> None:
    """Different members of the last whole window; an idle window counts none."""
    world = World(set_window=10.0).feed("u:ada|s", "u:1_0|s", "u:ada|s", "u:nan|s", times=2)
    assert world.samples() == {"u": 3.0}
    world.now = 10
    assert world.feed("u:bob|s").samples() == {"u": 3.0}
    world.now = 20
    assert world.samples() == {"u": 1.0}
    world.now = 95
    assert world.samples() == {"u": 0.0}
    assert not world.sink.refused


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a:NaN|c", "not_finite"),
        ("a:inf|g", "not_finite"),
        ("a:1e999|c", "not_finite"),
        ("a:1_0|c", "not_a_number"),
        ("a: 1|c", "not_a_number"),
        ("a:-1|c", "negative_counter"),
        ("x" * 9000 + ":1|c", "too_long"),
    ],
)
def test_no_value_poisons_a_series(line: str, reason: str) -> None:
    """What is no finite decimal number is refused and counted, whether its series is known or not."""
    name, _, rest = line.partition(":")
    world = World().feed(line)
    assert world.sink.refused == {reason: 1}
    if len(name) < 100:
        kind = rest.partition("|")[2]
        world.feed(f"{name}:2|{kind}", f"{name}:2|{kind}", line)
        assert world.sink.refused == {reason: 2}
        assert list(world.samples().values()) == [4.0 if kind == "c" else 2.0]


def test_sums_cannot_reach_infinity() -> None:
    """A sum that would overflow refuses what would make it so."""
    world = World().feed("a:1e308|c", "g:+1e308|g", "t:1e308|h", times=2)
    assert world.sink.refused == {"not_finite": 3}
    assert all(value < float("inf") for value in world.samples().values())


def test_a_name_has_one_type() -> None:
    """The first type wins; the others are refused as a conflict."""
    world = World().feed("a:1|g", "a:1|h", "a:x|s")
    assert world.sink.refused == {"type_conflict": 2}


def test_the_budget_holds_and_sums_stay_right() -> None:
    """Beyond the budget overflow series take what comes, one of a metric, one of all new names; and memory stays."""
    world = World(budget=10, budget_per_metric=5)
    world.feed(*(f"a:1|c|#user:{user}" for user in range(1000)), *(f"name{index}:1|c" for index in range(1000)))
    samples = world.samples()
    assert sum(value for key, value in samples.items() if key.startswith("a_total")) == 1000
    assert samples["a_total" + OVERFLOW] == 995
    assert world.store.budget.taken == 10
    assert samples["podpatterns_overflow_counters_total" + OVERFLOW] == 995
    assert not world.sink.refused
    assert world.overflow == {"a_total": 995, "": 995}
    assert len(world.intake._known) <= 10
    names = {f"name{index}_total": 1 for index in range(5)}
    assert dict(world.store.sizes()) == {"a_total": 6, **names, "podpatterns_overflow_counters_total": 1}


def test_names_without_room_overflow_by_type() -> None:
    """Counters add up with their rates, timers are seconds, sets count members; the page is right, and says why."""
    world = World(budget=1).feed(
        "first:1|c", "c1:2|c", "c2:3|c|@0.5", "g1:7|g", "t1:300|ms", "t2:500|ms", "s1:x|s", "h1:2|h"
    )
    labels, prefix = OVERFLOW, "podpatterns_overflow_"
    found = {key.removeprefix(prefix): value for key, value in world.samples().items() if key.startswith(prefix)}
    wanted = {
        f"counters_total{labels}": 8.0,
        f"gauges{labels}": 7.0,
        f"timers_seconds_count{labels}": 2.0,
        f"timers_seconds_sum{labels}": 0.8,
        f"sets{labels}": 1.0,
        f"histograms_count{labels}": 1.0,
    }
    assert {key: found[key] for key in wanted} == wanted
    assert world.overflow == {"": 7}
    assert not world.sink.refused


def test_known_texts_are_bounded() -> None:
    """Different texts of one series (rates) cannot fill the memory: beyond the bound it starts anew."""
    world = World(budget=1)
    for rate in range(1, 50):
        world.feed(f"a:1|c|@0.{rate:02d}|c:{rate}")
    assert len(world.intake._known) <= 4
    assert len(world.samples()) == 1


def test_stamps_are_not_remembered() -> None:
    """A line with a timestamp never comes again."""
    world = World().feed(*(f"a:1|c|T{stamp}" for stamp in range(100)))
    assert not world.intake._known
    assert world.samples() == {"a_total": 100.0}


def test_plain_names_stay_as_they_are() -> None:
    """`naming: plain` adds no suffixes."""
    assert World(units=False).feed("a.b:1|c").samples() == {"a_b": 1.0}


lines = st.lists(
    st.tuples(st.sampled_from(["a", "b[k=v]", "c,x=y"]), st.integers(0, 99), st.sampled_from(["", "|@0.5", "|#"])),
    max_size=20,
)


@given(lines, st.data())
def test_batches_do_not_matter(given_lines: list[tuple[str, int, str]], data: st.DataObject) -> None:
    """However lines are cut into batches, the same series come of them."""
    texts = [f"{name}:{value}|c{tail}" for name, value, tail in given_lines]
    at = data.draw(st.integers(0, len(texts)))
    one, two = World().feed(*texts), World().feed(*texts[:at]).feed(*texts[at:])
    assert one.samples() == two.samples()
    assert prometheus.render(one.store.families()) == prometheus.render(two.store.families())


@given(st.binary(max_size=200))
def test_any_bytes_are_accounted_for(data: bytes) -> None:
    """Whatever comes, every line that is not empty counts once, and nothing is raised."""
    world = World()
    world.intake.feed(data)
    assert world.sink.lines == sum(1 for line in data.split(b"\n") if line)


LIKELY = [
    "a:1|c",
    "a:2|c",
    "a:-1|c",
    "b:7|g",
    "b:8|g",
    "b:+1|g",
    "b:-2|g",
    "c:5|ms",
    "c:5_0|ms",
    "d:x|s",
    "c:1|g",
    "|g",
    "",
]


@given(st.lists(st.sampled_from(LIKELY)), st.data())
def test_remembered_lines_do_what_they_did(given_lines: list[str], data: st.DataObject) -> None:
    """Lines do the same whether counted, remembered or read anew, in any order and any pieces, read at any time."""
    pieces, single, unlike = World(), World(), World()
    unlike.intake._repeats._passing = 1 << 30
    rest = given_lines
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        pieces.feed(*rest[:size])
        unlike.feed(*rest[:size])
        rest = rest[size:]
        if data.draw(st.booleans()):
            pieces.samples()
    for line in given_lines:
        single.feed(line)
        single.intake.forget()
    assert pieces.samples() == single.samples() == unlike.samples()
    assert pieces.sink.refused == single.sink.refused == unlike.sink.refused
    assert pieces.sink.lines == single.sink.lines == unlike.sink.lines


PACKED = ["1", "2.5", "-3", "+4", "0", "1e2", "nan", "x", "", "7" * 400]


@given(st.sampled_from(["c", "g", "ms", "d", "s", "ms|@0.5"]), st.lists(st.lists(st.sampled_from(PACKED), min_size=1)))
def test_packed_values_do_the_same_in_a_known_series(kind: str, packed: list[list[str]]) -> None:
    """Whether the text around them is known, or each line is read anew; a line with nonsense in it counts for none."""
    known, anew = World().feed(f"a:1|{kind}"), World().feed(f"a:1|{kind}")
    for texts in packed:
        line = f"a:{':'.join(texts)}|{kind}"
        known.feed(line)
        anew.intake.forget()
        anew.feed(line)
    assert known.samples() == pytest.approx(anew.samples(), rel=1e-12)  # added up in another order
    assert known.sink.refused == anew.sink.refused
    assert known.sink.lines == anew.sink.lines


def test_lines_that_do_not_come_again_are_not_counted_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting is given up where few lines come again, and tried again later; sums are right throughout."""
    monkeypatch.setattr(repeats, "LINES", 100)
    world, tried = World().feed("a:1|c"), []
    for start in range(0, 3000, 50):
        world.feed(*(f"a:{value}|c" for value in range(start, start + 50)))
        tried.append(world.intake._repeats._passing <= 0)
    assert tried[0]
    assert 2 < sum(tried) < 20
    for _ in range(100):
        world.feed(*["a:1|c"] * 50)
    assert world.intake._repeats._passing <= 0
    assert world.samples()["a_total"] == 1 + sum(range(3000)) + 5000


def test_remembered_lines_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """When others come than are remembered, memory starts anew; sums are right all the same."""
    monkeypatch.setattr(repeats, "LINES", 4)
    world = World()
    for start in range(0, 100, 10):
        world.feed("\n".join(f"a:{value}|c" for value in range(start, start + 10)))
        assert len(world.intake._repeats._counts) <= 4 + 10
    assert world.samples()["a_total"] == sum(range(100))
