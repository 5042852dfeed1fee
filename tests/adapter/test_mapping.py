"""Laws of the mapping: which rule a name falls under, and what it becomes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.adapter import mapping
from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.intake import Intake
from podpatterns.adapter.mapping import KINDS, Mapper, MappingRuleConfig
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.adapter.runtime import Adapter
from podpatterns.adapter.store import Shape, Store
from podpatterns.adapter.transforms.relabel import RuleConfig
from podpatterns.errors import ConfigError
from podpatterns.formats.statsd import Type
from podpatterns.runtime import config as configuration
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.service import Request
from podpatterns.runtime.units import Address, Duration


def rule(match: str, name: str = "m", **more: object) -> MappingRuleConfig:
    return MappingRuleConfig(match=match, name=name, **more)  # type: ignore[arg-type]


def mapped(name: str, *rules: MappingRuleConfig, kind: Type = "c") -> tuple[str, dict[str, str]] | None:
    target = Mapper(rules).find(name, kind)
    return None if target is None else (target.name, dict(target.labels))


class World:
    def __init__(self, *rules: MappingRuleConfig, **shape: object) -> None:
        self.refused: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.store = Store(
            Shape(**shape),  # type: ignore[arg-type]
            lambda: 0.0,
            lambda _name: None,
            Mapper(rules),
            lambda match: self.dropped.update([match]),
        )
        self.intake = Intake(self.store, self)

    def lines_taken(self, count: int) -> None: ...

    def line_skipped(self, what: str) -> None: ...

    def line_refused(self, reason: str, detail: str) -> None:
        self.refused[reason] += 1

    def feed(self, *lines: str) -> World:
        self.intake.feed("\n".join(lines).encode())
        return self

    def samples(self) -> dict[str, float]:
        return {
            family.name + (family.suffixes[i] if family.suffixes else "") + text: value
            for family in self.store.families()
            for i, (text, value) in enumerate(zip(family.blocks, family.values, strict=True))
        }


CASES = [
    ("a.b.c", [rule("a.*.c", "x_$1")], ("x_b", {})),
    ("a.b.c", [rule("a.*", "x")], None),  # exactly one segment
    ("a.b", [rule("a.*.*", "x")], None),
    ("a..c", [rule("a.*.c", "x", labels={"l": "$1"})], ("x", {})),  # an empty label is no label
    ("a.b.c", [rule("*.*.*", "${3}_$2", labels={"l": "$1-$3", "k": "v"})], ("c_b", {"l": "a-c", "k": "v"})),
    ("a.b", [rule("a.*", "$1x")], ("bx", {})),  # in a glob, $1x is the group and an x
    ("a.b-c", [rule("a.*", "m_$1", labels={"l": "$1"})], ("m_b_c", {"l": "b-c"})),  # names are made fit, values stay
    ("a.b", [rule("a.*", "first"), rule("a.b", "second")], ("first", {})),
    ("a.b", [rule("*.c", "first"), rule("a.b", "second"), rule("*.b", "third")], ("second", {})),
    ("a.b", [rule("^a", "regex", match_type="regex"), rule("a.*", "glob")], ("glob", {})),  # globs come first
    ("xa.bx", [rule(r"a\.(?P<q>b)", "m_${q}", match_type="regex")], ("m_b", {})),  # unanchored
    ("a.b", [rule("^b", "m", match_type="regex"), rule("(b)", "${1}_n", match_type="regex")], ("b_n", {})),
    ("a.*", [rule("a.*", "m_$1")], ("m__", {})),
    ("a", [], None),
]


@pytest.mark.holds("StatsD mapping")
@pytest.mark.parametrize(("name", "rules", "expected"), CASES)
def test_names_are_mapped(
    name: str, rules: list[MappingRuleConfig], expected: tuple[str, dict[str, str]] | None
) -> None:
    """Segments, groups, order, and globs before expressions, as statsd_exporter has them."""
    assert mapped(name, *rules) == expected


def test_rules_are_for_types() -> None:
    """A rule for another type is passed over; `observer`, and `timer` too, are ms, h and d."""
    rules = [rule("a", "g", match_metric_type="gauge"), rule("a", "o", match_metric_type="observer"), rule("a", "any")]
    found = {kind: mapped("a", *rules, kind=kind) for kind in KINDS}
    names = {"c": "any", "g": "g", "ms": "o", "h": "o", "d": "o", "s": "any"}
    assert found == {kind: (name, {}) for kind, name in names.items()}
    assert mapped("a", rule("a", "t", match_metric_type="timer"), kind="d") == ("t", {})


segments = st.sampled_from(["a", "b", "*"])
globs = st.lists(segments, min_size=1, max_size=3).map(".".join)


@pytest.mark.holds("StatsD mapping")
@given(st.lists(st.tuples(globs, st.sampled_from([None, "counter", "gauge"])), max_size=8), st.data())
def test_the_first_rule_wins(given_rules: list[tuple[str, str | None]], data: st.DataObject) -> None:
    """All globs searched together find what trying one after the other finds, and what matches is reachable."""
    mapper = Mapper([rule(match, f"r{i}", match_metric_type=kind) for i, (match, kind) in enumerate(given_rules)])
    name = ".".join(data.draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3)))
    kind: Type = data.draw(st.sampled_from(["c", "g", "ms"]))
    first = next((each for each in mapper.rules if not each.why_not(name, KINDS[kind])), None)
    for _ in range(2):
        found = mapper.find(name, kind)
        assert (found.rule if found else None) is first
    assert first not in [each for each, _ in mapper.unreachable()]


def test_known_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered is bounded, in number and in length."""
    monkeypatch.setattr(mapping, "REMEMBERED", 3)
    mapper = Mapper([rule("a.*", "m", labels={"l": "$1"})])
    for index in range(10):
        assert mapper.find(f"a.{index}", "c") is not None
        assert len(mapper._known) <= 3
    mapper._known.clear()
    assert mapper.find("a." + "x" * 1000, "c") is not None
    assert not mapper._known


def test_a_known_series_is_not_mapped_again() -> None:
    """The mapping costs nothing for a line whose series is known."""
    world = World(rule("a.*", "m", labels={"l": "$1"}), rule("d", action="drop")).feed("a.x:1|c", "d:1|c")
    world.store.mapper = None  # type: ignore[assignment]  # any use of it would raise
    assert world.feed("a.x:2|c", "d:1|c").samples() == {'m{l="x"}': 3.0}
    assert world.dropped == {"d": 2}


def test_mapped_names_are_taken_as_they_are() -> None:
    """No suffix is added; names that no rule matches get theirs; several names may become one series."""
    world = World(rule("a.*", "sum")).feed("a.x:1|c", "a.y:2|c", "b.x:4|c")
    assert world.samples() == {"sum": 3.0, "b_x_total": 4.0}
    assert world.store.count == 2


def test_help() -> None:
    """The rule's text, or what it is and by which rule."""
    world = World(rule("a.*", "m", help="Ours."), rule("b.*", "n")).feed("a.x:1|c", "b.x:1|g")
    assert [metric.help for metric in world.store.metrics.values()] == ["Ours.", "StatsD gauge b.*."]


@pytest.mark.holds("StatsD mapping")
@pytest.mark.parametrize("honor", [False, True])
def test_labels_and_tags(honor: bool) -> None:
    """The rule's label wins over the tag of that name, unless tags are honoured; other tags stay."""
    rules = rule("a.*", "m", labels={"l": "$1"}, honor_labels=honor)
    key = f'm{{k="v",l="{"tag" if honor else "x"}"}}'
    assert World(rules).feed("a.x:1|c|#l:tag,k:v").samples() == {key: 1.0}


@pytest.mark.holds("StatsD mapping")
def test_scale() -> None:
    """Every kind of value is multiplied, also where differently scaled names meet in one series."""
    rules = [rule("*.us", "m", scale=0.5), rule("*.s", "m")]
    assert World(*rules).feed("a.us:4|c", "a.s:1|c", "b.us:4|c|@0.5", "a.us:2|c").samples() == {"m": 8.0}
    assert World(*rules).feed("a.s:1|g", "a.us:+4|g", "a.s:-1|g").samples() == {"m": 2.0}
    assert World(*rules).feed("a.us:4|g", "a.us:6|g").samples() == {"m": 3.0}
    timers = World(*rules, histograms=False).feed("a.us:4000|ms", "a.s:1000|ms", "a.s:1|h", "a.us:1|h").samples()
    assert timers == {"m_count": 4.0, "m_sum": 2 + 1 + 1 + 0.5}
    assert World(*rules).feed("a.us:x|s").samples() == {"m": 1.0}
    huge = World(rule("g", "m", scale=1e14)).feed("g:1e300|g")
    assert huge.refused == {"not_finite": 1}


@pytest.mark.holds("StatsD mapping")
def test_drop_is_counted() -> None:
    """Dropped samples of every type are counted by rule, packed values each; nonsense is still refused as such."""
    world = World(rule("a.*", action="drop")).feed("a.x:1:2|c", "a.x:1|c|#k:v", "a.x:1|g", "a.x:y|s", "a.x:NaN|c")
    assert world.dropped == {"a.*": 5}
    assert world.refused == {"not_finite": 1}
    assert world.store.count == 0


def test_nothing_left_of_a_name_is_refused() -> None:
    """An empty group cannot be a name."""
    assert World(rule("a.*", "$1")).feed("a.:1|c").refused == {"no_name": 1}


UNREACHABLE = [
    ([rule("a.*"), rule("a.b")], [2], "rule 1 (glob a.*) comes first"),
    ([rule("a.*", match_metric_type="gauge"), rule("a.b")], [], ""),
    ([rule("a.*", match_metric_type="gauge"), rule("a.b", match_metric_type="gauge")], [2], "comes first"),
    (
        [*(rule("a.*", match_metric_type=kind) for kind in ("gauge", "counter", "observer", "set")), rule("a.b")],
        [5],
        "rule 1 (glob a.*) and rule 2 (glob a.*) and",
    ),
    ([rule("a.b"), rule("a.*")], [], ""),
    ([rule(".*", match_type="regex"), rule("x", match_type="regex"), rule("a")], [2], "(regex .*) comes first"),
    ([rule("x", match_type="regex"), rule("x", match_type="regex")], [2], "comes first"),
    ([rule("a:b.*")], [1], "never holds ':'"),
]


@pytest.mark.parametrize(("rules", "numbers", "reason"), UNREACHABLE)
def test_rules_that_can_never_match(rules: list[MappingRuleConfig], numbers: list[int], reason: str) -> None:
    """They are found, by their place in the file, with the reason; no other is."""
    found = list(Mapper(rules).unreachable())
    assert [each.number for each, _ in found] == numbers
    assert all(reason in text for _, text in found)


MISTAKES = [
    ("{match: a}", "name"),
    ('{match: "", name: a}', "match"),
    ("{match: a.b*, name: a}", "whole segment"),
    ('{match: "(", match_type: regex, name: a}', "not a regular expression"),
    ("{match: a.*, name: a_$2}", "no group 2"),
    ('{match: a, name: a, labels: {l: "$1"}}', r"labels\.l"),
    ('{match: "(a)", match_type: regex, name: $1_total}', r"\$\{1\}"),
    ("{match: a, name: a-b}", "no name"),
    ("{match: a, name: a, labels: {le: x}}", "cannot be a label"),
    ("{match: a, name: a, labels: {a.b: x}}", "cannot be a label"),
    ("{match: a, name: a, scale: 0}", "scale"),
    ("{match: a, name: a, ttl: 5m}", "ttl"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_mistakes_are_told(text: str, message: str) -> None:
    """A rule that means nothing is refused, with the field in question."""
    page = f"adapter:\n  inputs: [{{type: statsd}}]\n  outputs: [{{type: prometheus}}]\n  mapping:\n  - {text}\n"
    with pytest.raises(ConfigError, match=message):
        configuration.loads([("a.yaml", page)])


def made(*rules: MappingRuleConfig) -> AdapterConfig:
    anywhere = Address("127.0.0.1:0")
    return AdapterConfig(
        inputs=[StatsdConfig(listen=anywhere)],
        outputs=[PrometheusConfig(listen=anywhere, final_scrape=Duration("0s"))],
        mapping=list(rules),
    )


async def test_the_running_adapter_maps(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    """Unreachable rules are warned of, drops are seen, and changed rules are for series that come after."""
    config = made(rule("a.*", "m", labels={"l": "$1"}), rule("a.b", "n"), rule("d", action="drop"))
    async with Adapter(config) as adapter:
        adapter.feed(b"d:1|c\n")
        assert all(check.ok for check in adapter.status().checks)
        adapter.feed(b"a.x:1|c\n")
        page = await adapter.page()
        assert b'm{l="x"} 1\n' in page
        assert b'podpatterns_adapter_samples_dropped_total{match="d"} 1\n' in page
        assert (await adapter.routes()[0].handle(Request({}))).data["dropped_by_mapping"] == {"d": 1}
        changed = MappingRuleConfig(match="a.*", name="o")
        await adapter.reload(AdapterConfig(inputs=config.inputs, outputs=config.outputs, mapping=[changed]))
        adapter.feed(b"a.x:1|c\n")
        page = await adapter.page()
        assert b'm{l="x"} 1\n' in page
        assert b"\no 1\n" in page
    logged = capsys.readouterr()
    assert (logged.out + logged.err).count("adapter.mapping.rule_unreachable") == 1


def test_explain_names_the_rule_and_the_reasons() -> None:
    """The rule that matched, why earlier ones did not, and rules that never can."""
    rules = [
        rule("a.b", "m"),
        rule("a.*.*", "m"),
        rule("a.x", "m", match_metric_type="gauge"),
        rule("a.x", "n"),
        rule("a.x", "o"),
        rule("q", action="drop"),
    ]
    text = "\n".join(made(*rules).explain("a.x:1|c\nq:1|c\nzzz:1|c"))
    for part in (
        "rule 5 (glob a.x) of the mapping can never match: rule 4 (glob a.x) comes first",
        'no match  rule 1 (glob a.b): segment 2 is "x", not "b"',
        "no match  rule 2 (glob a.*.*): it has 3 segments, the name has 2",
        "no match  rule 3 (glob a.x): it is for the type gauge only, and this is a counter",
        "matched   rule 4 (glob a.x)",
        "becomes   n 1",
        "matched   rule 6 (glob q)\n    dropped   by the rule",
        "becomes   zzz_total 1",
    ):
        assert part in text


@pytest.mark.holds("bounded expressions")
@pytest.mark.parametrize("match", ["(a+)+$", "^(x|(b*)*)c", r"((\w+)\.?)+!"])
def test_expressions_that_run_away_are_refused(match: str) -> None:
    """Where the time would double with each character, the file is refused, for mapping and for relabelling."""
    with pytest.raises(InvalidField, match="can take forever"):
        rule(match, "m", match_type="regex")
    with pytest.raises(InvalidField, match="can take forever"):
        RuleConfig(regex=match)


@pytest.mark.holds("bounded expressions")
def test_expressions_are_searched_in_short_names_only() -> None:
    """A longer name is refused and counted where only an expression could match it; globs take any length."""
    world = World(rule("a.*", "m"), rule("^(.*)-(.*)-(.*)-end$", "n", match_type="regex"))
    world.feed(f"{'-' * 255}:1|c", f"{'-' * 256}:1|c", f"a.{'x' * 500}:1|c")
    assert world.refused == {"too_long": 1}
    assert world.samples()["m"] == 1


NAMES = {
    "clean_name": "clean_name",
    "0starts_with_digit": "_0starts_with_digit",
    "with.dots-and spaces": "with_dots_and_spaces",
    "ünïcode": "_n_code",
    "a/b%c@d": "a_b_c_d",
}


@pytest.mark.holds("StatsD names")
@pytest.mark.parametrize("name", NAMES)
def test_names_are_made_fit(name: str) -> None:
    """What Prometheus' old alphabet does not have becomes an underscore, and a leading digit gets one in front."""
    assert list(World().feed(f"{name}:1|g").samples()) == [NAMES[name]]
