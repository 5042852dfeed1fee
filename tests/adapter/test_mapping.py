"""Laws of the mapping: which rule a name falls under, and what it becomes."""

from __future__ import annotations

from collections import Counter
from math import ceil, isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.adapter import mapping
from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.expiry import Expiry
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.intake import Intake
from podpatterns.adapter.mapping import KINDS, Mapper
from podpatterns.adapter.mapping_config import (
    HistogramOptionsConfig,
    MappingDefaultsConfig,
    MappingRuleConfig,
    QuantileConfig,
    SummaryOptionsConfig,
)
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.adapter.quantiles import Quantiles, bucket, quantiles_of
from podpatterns.adapter.runtime import Adapter
from podpatterns.adapter.store import Shape, Store
from podpatterns.adapter.transforms.relabel import RuleConfig
from podpatterns.errors import ConfigError
from podpatterns.formats.statsd import Type
from podpatterns.runtime import config as configuration
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse as yaml
from podpatterns.runtime.schema import InvalidField, InvalidFields
from podpatterns.runtime.service import Request
from podpatterns.runtime.units import Address, Duration
from tests.adapter.looking import values


def rule(match: str, name: str = "m", **more: object) -> MappingRuleConfig:
    return MappingRuleConfig(match=match, name=name, **more)  # type: ignore[arg-type]


def mapped(name: str, *rules: MappingRuleConfig, kind: Type = "c") -> tuple[str, dict[str, str]] | None:
    target = Mapper(rules).find(name, kind)
    return None if target is None else (target.name, dict(target.labels))


class World:
    def __init__(
        self, *rules: MappingRuleConfig, defaults: MappingDefaultsConfig | None = None, **shape: object
    ) -> None:
        self.refused: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.store = Store(
            Shape(**shape),  # type: ignore[arg-type]
            lambda: 0.0,
            lambda _name: None,
            Mapper(rules, defaults),
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
        return values(self.store.families())


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
    assert world.store.budget.taken == 2


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
    assert world.store.budget.taken == 0


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
    ("{match: a, name: a, buckets: [2, 1]}", "buckets.*ascending"),
    ("{match: a, name: a, histogram_options: {native_histogram_bucket_factor: 1}}", "above 1"),
    ("{match: a, name: a, buckets: [1], histogram_options: {buckets: [1]}}", "buckets.*old place"),
    ("{match: a, name: a, timer_type: histogram, summary_options: {}}", "no options of a summary"),
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


SPECIFIC = [
    ("a.b.c", [rule("a.*.c", "first"), rule("a.b.*", "second")], "second"),
    ("a.b.c", [rule("*.b.c", "first"), rule("a.*.*", "second")], "second"),
    ("a.b.d", [rule("a.*.d", "first"), rule("a.b.c", "second")], "first"),  # back from where it led nowhere
    ("a.b", [rule("(.*)", "regex", match_type="regex"), rule("*.*", "glob")], "glob"),
]


@pytest.mark.holds("StatsD mapping")
@pytest.mark.parametrize(("name", "rules", "expected"), SPECIFIC)
def test_the_most_specific_rule_wins_where_that_is_asked(
    name: str, rules: list[MappingRuleConfig], expected: str
) -> None:
    """`glob_disable_ordering`: segment by segment, a word comes before a wildcard, whatever the order in the file."""
    mapper = Mapper(rules, MappingDefaultsConfig(glob_disable_ordering=True))
    target = mapper.find(name, "c")
    assert target is not None
    assert target.name == expected
    assert list(mapper.tried(name, "c"))[-1] == f"matched   {target.rule}"
    assert list(mapper.unreachable()) == []


@pytest.mark.holds("StatsD mapping")
def test_rules_have_defaults() -> None:
    """What a rule leaves open is as `mapping_defaults` has it; what it says comes first."""
    defaults = MappingDefaultsConfig(match_type="regex", ttl=Duration("5m"), observer_type="summary")
    mapper = Mapper([rule("a(.)", "m_$1"), rule("b.*", "n", match_type="glob", observer_type="histogram")], defaults)
    found = mapper.find("xab", "ms")
    assert found is not None
    assert (found.name, found.rule.observed.ttl, found.rule.observed.kind) == ("m_b", 300, "summary")
    other = mapper.find("b.x", "ms")
    assert other is not None
    assert (other.rule.observed.kind, other.rule.observed.summary) == ("histogram", None)
    with pytest.raises(InvalidField, match="no options of a summary"):
        rule("a", "m", observer_type="histogram", summary_options=SummaryOptionsConfig())
    with pytest.raises(InvalidFields, match="whole segment"):
        AdapterConfig(
            inputs=[StatsdConfig()], outputs=[PrometheusConfig()], mapping=[MappingRuleConfig(match="a*", name="b")]
        )


OBSERVED: list[tuple[str, str, dict[str, object]]] = [
    ("{}", "{}", {}),
    ("{observer_type: summary}", "{}", {"kind": "summary", "summary": ((0.5, 0.9, 0.99), 600, 5)}),
    ("{timer_type: histogram, buckets: [1, 2]}", "{}", {"kind": "histogram", "bounds": (1, 2)}),
    ("{observer_type: histogram, timer_type: summary}", "{}", {"kind": "histogram"}),
    ("{quantiles: [{quantile: 0.5}]}", "{}", {"kind": "summary", "summary": ((0.5,), 600, 5)}),
    (
        "{}",
        "{observer_type: histogram, buckets: [1], ttl: 1m}",
        {"kind": "histogram", "bounds": (1,), "ttl": 60},
    ),
    ("{ttl: 0s}", "{ttl: 1m}", {"ttl": 60}),
    ("{ttl: 5s}", "{ttl: 1m}", {"ttl": 5}),
    ("{histogram_options: {buckets: [3]}}", "{observer_type: summary}", {"kind": "histogram", "bounds": (3,)}),
    ("{histogram_options: {}}", "{histogram_options: {buckets: [4]}}", {"kind": "histogram", "bounds": (4,)}),
    (
        "{histogram_options: {native_histogram_bucket_factor: 1.1}}",
        "{histogram_options: {native_histogram_max_buckets: 80}}",
        {"kind": "histogram", "native": (3, 80)},
    ),
    ("{}", "{histogram_options: {native_histogram_max_buckets: 160}}", {"kind": "histogram"}),
    (
        "{summary_options: {max_age: 1m}}",
        "{summary_options: {quantiles: [{quantile: 1}], age_buckets: 2, max_age: 0s}}",
        {"kind": "summary", "summary": ((1,), 60, 2)},
    ),
]


@pytest.mark.holds("StatsD mapping")
@pytest.mark.parametrize(("own", "defaults", "expected"), OBSERVED)
def test_options_are_taken_one_by_one(own: str, defaults: str, expected: dict[str, object]) -> None:
    """What a rule says comes first, then `mapping_defaults`; old names of options mean what they meant."""
    config = decode(yaml(f"{{match: a, name: a, {own[1:]}")[0], MappingRuleConfig)
    found = decode(yaml(defaults)[0], MappingDefaultsConfig)
    said = config.observed.under(found.observed)._asdict()
    assert {field: value for field, value in said.items() if value is not None} == expected


@pytest.mark.holds("StatsD mapping")
def test_defaults_are_also_for_names_that_no_rule_matches() -> None:
    """As in statsd_exporter: their timers are what the defaults say, and their series live as long."""
    now = [0.0]
    defaults = MappingDefaultsConfig(
        observer_type="summary", quantiles=[QuantileConfig(quantile=1)], ttl=Duration("5s")
    )
    world = World(rule("a", "a", observer_type="histogram", ttl=Duration("1m")), defaults=defaults)
    world.feed("a:1|h", "b:2|h", "c:1|c")
    assert world.samples()['b{quantile="1"}'] == pytest.approx(2, rel=0.01)
    assert 'a_bucket{le="1"}' in world.samples()
    expiry = Expiry(world.store, world.intake, None, lambda: now[0])
    for now[0] in (0.0, 4.0, 10.0):
        expiry.sweep()
    assert {name.partition("_")[0] for name in world.samples()} == {"a"}


def test_a_timer_goes_on_as_what_it_is() -> None:
    """Where the rules change while running, or two rules disagree: nothing is refused for it."""
    world = World().feed("t:1000|ms")
    world.store.mapper = Mapper((), MappingDefaultsConfig(observer_type="summary"))
    world.intake.forget()
    world.feed("t:2000|ms", "t:1000|ms|@0.5", "u:1|h", "t:1|c")
    found = world.samples()
    assert (found['t_seconds_bucket{le="1"}'], found["t_seconds_count"]) == (3.0, 4.0)
    assert 'u{quantile="0.5"}' in found
    assert not world.refused


@pytest.mark.holds("StatsD mapping")
def test_observers_are_histograms_or_summaries_rule_by_rule() -> None:
    """Buckets and quantiles are the rule's own; sampled lines weigh what they stand for."""
    buckets = HistogramOptionsConfig(buckets=[1, 2])
    quantiles = [QuantileConfig(quantile=0.5), QuantileConfig(quantile=1)]
    world = World(
        rule("h.*", "h", observer_type="histogram", histogram_options=buckets),
        rule("s.*", "s", observer_type="summary", summary_options=SummaryOptionsConfig(quantiles=quantiles)),
        histograms=False,
    )
    world.feed("h.a:1500|ms", "s.a:10|h", "s.a:1000|h|@0.25", "plain:1|h")
    found = world.samples()
    assert [found[f'h_bucket{{le="{bound}"}}'] for bound in ("1", "2", "+Inf")] == [0, 1, 1]
    assert found['s{quantile="0.5"}'] == pytest.approx(1000, rel=0.01)
    assert found['s{quantile="1"}'] == pytest.approx(1000, rel=0.01)
    assert (found["s_count"], found["plain_count"]) == (5, 1)
    assert 'plain_bucket{le="1"}' not in found


@pytest.mark.holds("StatsD lines")
@given(st.integers(1, 1_000_000))
def test_milliseconds_are_in_the_bucket_of_their_seconds(milliseconds: int) -> None:
    """Known or new, a timer on a bound is within it: 9 ms are 0.009 s, and not a little more."""
    buckets = HistogramOptionsConfig(buckets=[milliseconds / 1000])
    world = World(rule("h", "h", histogram_options=buckets))
    for _ in range(3):
        world.feed(f"h:{milliseconds}|ms", f"h:{milliseconds}.0|ms")
    assert [value for name, value in world.samples().items() if "_bucket" in name] == [6, 6]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.floats(0, 1))
def test_quantiles_are_off_by_one_percent_at_most(values: list[float], wanted: float) -> None:
    """The value of the rank that is asked for, or its neighbour in a bucket."""
    counts = Counter(map(bucket, values))
    (found,) = quantiles_of(counts, [wanted])
    ordered = sorted(values)
    exact = ordered[max(0, ceil(wanted * len(values)) - 1)]
    assert found == pytest.approx(exact, rel=0.0101, abs=1e-8)


def test_quantiles_forget() -> None:
    """What is older than `max_age` is in no quantile, and still in count and sum."""
    now = [0.0]
    slot = Quantiles(1.0, 1.0, None, span=60, steps=6, clock=lambda: now[0])
    slot.take(100, b"100")
    now[0] = 55
    slot.take(1, b"1")
    assert slot.quantiles([1.0]) == [pytest.approx(100, rel=0.01)]
    now[0] = 65
    assert slot.quantiles([1.0]) == [pytest.approx(1, rel=0.01)]
    now[0] = 1000
    assert isnan(slot.quantiles([1.0])[0])
    assert slot.read() == ([2.0], 101.0)


@pytest.mark.holds("StatsD mapping")
def test_a_rule_has_a_time_to_live() -> None:
    """Its series expire by it, others by the general one or not at all."""
    now = [0.0]
    world = World(rule("a.*", "a", ttl=Duration("5s"), labels={"x": "$1"}))
    expiry = Expiry(world.store, world.intake, None, lambda: now[0])
    world.feed("a.x:1|g", "b:1|g")
    for now[0] in (0.0, 4.0, 10.0):
        expiry.sweep()
    assert list(world.samples()) == ["b"]
