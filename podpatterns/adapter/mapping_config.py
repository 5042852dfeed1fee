"""What can be configured of a mapping; the fields are statsd_exporter's own.

Source: prometheus/statsd_exporter README.md, "Metric Mapping and Configuration".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from math import isfinite
from typing import Annotated, Literal, NamedTuple

import msgspec

from podpatterns.adapter.naming import check_labels
from podpatterns.adapter.natives import Resolution, scale_of
from podpatterns.formats.families import is_metric_name
from podpatterns.runtime.regex import check_regex
from podpatterns.runtime.schema import Config, InvalidField
from podpatterns.runtime.units import Duration

GROUP = re.compile(r"\$(?:\{(\d+)\}|(\d+))", re.ASCII)
"""In a glob's texts: `$1x` is the first group and an x."""
VARIABLE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))", re.ASCII)
"""In a regular expression's, as Go has it: `$1x` is the variable `1x`."""


def check_bounds(field: str, bounds: Sequence[float]) -> None:
    """Blame `field` if these are no upper bounds of buckets. Raises InvalidField."""
    if not all(map(isfinite, bounds)) or any(after <= before for before, after in pairwise(bounds)):
        raise InvalidField(field, "the bounds must be finite and ascending; +Inf is added by itself")


class HistogramOptionsConfig(Config, frozen=True, kw_only=True):
    """What a histogram is like."""

    buckets: Annotated[list[float], msgspec.Meta(max_length=200)] = []
    """Upper bounds, ascending; +Inf is added by itself. In seconds for timers. Empty: as `mapping_defaults` has it, or
    those of `series`."""

    native_histogram_bucket_factor: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """How much wider than the one before it a bucket of the native histogram may be at most, such as 1.1. Whoever
    scrapes protocol buffers gets that histogram beside the buckets. 0: as `mapping_defaults` has it, or there is
    none."""

    native_histogram_max_buckets: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    """How many buckets a native histogram may have; one more makes all of them twice as wide. Each takes some 60 bytes
    in each series. 0: as `mapping_defaults` has it, or 160."""

    def __post_init__(self) -> None:
        check_bounds("buckets", self.buckets)
        if 0 < self.native_histogram_bucket_factor <= 1:
            raise InvalidField("native_histogram_bucket_factor", "each bucket is wider than the one before: above 1")


class QuantileConfig(Config, frozen=True, kw_only=True):
    """One quantile of a summary."""

    quantile: Annotated[float, msgspec.Meta(ge=0, le=1)]
    """Which: 0.5 is the median."""

    error: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.01
    """How far the rank may be off in statsd_exporter. Here values are off by at most 1 %, whatever stands here."""


class SummaryOptionsConfig(Config, frozen=True, kw_only=True):
    """What a summary is like."""

    quantiles: Annotated[list[QuantileConfig], msgspec.Meta(max_length=20)] = []
    """The quantiles that are shown, each of the last `max_age`. Empty: as `mapping_defaults` has it, or 0.5, 0.9 and
    0.99."""

    max_age: Duration | None = None
    """How far back quantiles look. None or 0s: as `mapping_defaults` has it, or 10m."""

    age_buckets: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    """In how many steps old samples go. 0: as `mapping_defaults` has it, or 5."""

    buf_cap: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Taken for the sake of files made for statsd_exporter; nothing is buffered here."""


class ObserverConfig(Config, frozen=True, kw_only=True):
    """What timers, histograms and distributions become: the part that rules and their defaults have in common."""

    observer_type: Literal["histogram", "summary"] | None = None
    """What timers, histograms and distributions become. None: what the options say that stand here; if none do, as
    `mapping_defaults` has it, and at last `series.timers`."""

    timer_type: Literal["histogram", "summary"] | None = None
    """The old name of `observer_type`, which comes before it."""

    histogram_options: HistogramOptionsConfig | None = None
    """Of a histogram. None: as `mapping_defaults` has it, or the buckets of `series`."""

    buckets: Annotated[list[float], msgspec.Meta(max_length=200)] = []
    """The old place of the buckets in `histogram_options`."""

    summary_options: SummaryOptionsConfig | None = None
    """Of a summary. None: as `mapping_defaults` has it, or three quantiles of ten minutes."""

    quantiles: Annotated[list[QuantileConfig], msgspec.Meta(max_length=20)] = []
    """The old place of the quantiles in `summary_options`."""

    ttl: Duration | None = None
    """How long a series may be without samples before it is dropped, or hidden if it is a counter. None, or 0s as
    statsd_exporter has it: as `mapping_defaults` says, or `series.expire`."""

    def __post_init__(self) -> None:
        for old, new in (("buckets", "histogram_options"), ("quantiles", "summary_options")):
            if getattr(self, old) and getattr(self, new) is not None:
                raise InvalidField(old, f"this is the old place of what `{new}` has already; leave one of the two")
        if self.buckets:
            check_bounds("buckets", self.buckets)

    @property
    def observed(self) -> Observed:
        """The same, as it is said today."""
        return Observed(
            self.observer_type or self.timer_type,
            HistogramOptionsConfig(buckets=self.buckets) if self.buckets else self.histogram_options,
            SummaryOptionsConfig(quantiles=self.quantiles) if self.quantiles else self.summary_options,
            self.ttl or None,
        )


class Summary(NamedTuple):
    """What a summary is like: the quantiles of the last seconds, which go in so many steps."""

    quantiles: tuple[float, ...]
    max_age: float
    age_buckets: int


class Observer(NamedTuple):
    """What timers, histograms and distributions become. None: what `series` says."""

    kind: Literal["histogram", "summary"] | None
    bounds: tuple[float, ...] | None
    """Of a histogram's buckets."""
    native: Resolution | None
    """Of a histogram that has a native one beside it."""
    summary: Summary | None
    ttl: float | None
    """Seconds after which a series without samples expires, whatever it is."""


class Observed(NamedTuple):
    """The same as a rule or its defaults say it, field by field; what they leave open is None, empty or 0."""

    kind: Literal["histogram", "summary"] | None = None
    histogram: HistogramOptionsConfig | None = None
    summary: SummaryOptionsConfig | None = None
    ttl: float | None = None

    def under(self, defaults: Observed) -> Observer:
        """With what is left open taken from others, as statsd_exporter does it: option by option."""
        kind = self.kind or self._said or defaults.kind or defaults._said
        histogram, other = self.histogram or HistogramOptionsConfig(), defaults.histogram or HistogramOptionsConfig()
        options, usual = self.summary or SummaryOptionsConfig(), defaults.summary or SummaryOptionsConfig()
        quantiles = [each.quantile for each in options.quantiles or usual.quantiles] or _QUANTILES
        summary = Summary(
            tuple(quantiles), options.max_age or usual.max_age or 600.0, options.age_buckets or usual.age_buckets or 5
        )
        factor = histogram.native_histogram_bucket_factor or other.native_histogram_bucket_factor
        most = histogram.native_histogram_max_buckets or other.native_histogram_max_buckets or 160
        return Observer(
            kind,
            tuple(histogram.buckets or other.buckets) or None,
            Resolution(scale_of(factor), most) if factor else None,
            summary if kind == "summary" else None,
            self.ttl or defaults.ttl,
        )

    @property
    def _said(self) -> Literal["histogram", "summary"] | None:
        """Which of the two has options, if one has."""
        if (self.histogram is None) == (self.summary is None):
            return None
        return "histogram" if self.summary is None else "summary"


_QUANTILES = [0.5, 0.9, 0.99]


class MappingDefaultsConfig(ObserverConfig, frozen=True, kw_only=True):
    """What rules have that do not say otherwise, and what becomes of names that no rule matches.

    It is what stands under `defaults` in a file of statsd_exporter.
    """

    match_type: Literal["glob", "regex"] = "glob"
    """How `match` is read."""

    glob_disable_ordering: bool = False
    """Whether the most specific glob wins instead of the first one: the one whose first segments are no wildcards."""


class MappingRuleConfig(ObserverConfig, frozen=True, kw_only=True):
    """One rule: which names it is for, and what becomes of them. The fields are statsd_exporter's own."""

    match: Annotated[str, msgspec.Meta(min_length=1)]
    """The dotted name. As a glob, `*` stands for exactly one segment: `shop.*.orders` matches `shop.zurich.orders`,
    and not `shop.orders`. As a regular expression, it is searched anywhere in the name; `^` and `$` anchor it."""

    match_type: Literal["glob", "regex"] | None = None
    """How `match` is read. Globs are fast and easy to foresee; all of them are tried before any regular expression.
    None: as `mapping_defaults` has it."""

    match_metric_type: Literal["counter", "gauge", "observer", "timer", "set"] | None = None
    """Only lines of this type; `observer` (or `timer`, its old name) are timers, histograms and distributions. None:
    of any type."""

    action: Literal["map", "drop"] = "map"
    """`drop`: lines that match are left out, and counted in `podpatterns_adapter_samples_dropped_total`."""

    name: str = ""
    """The metric's name; `$1` or `${1}` is what the first `*` or group stands for. Taken as it is: no `_total` or
    `_seconds` is added, so that pages and dashboards made for statsd_exporter agree. Needed unless `action` is
    drop."""

    labels: dict[str, str] = {}
    """Labels that the series get; values may hold `$1`. One that becomes empty is left out."""

    honor_labels: bool = False
    """Whether a tag of the line wins over a label of the same name here. Off, as in statsd_exporter."""

    help: str = ""
    """The metric's help text. Empty: it names the type and `match`."""

    scale: Annotated[float, msgspec.Meta(gt=0, lt=1e15)] = 1.0
    """What every value is multiplied with, such as 0.000001 for a counter of microseconds that should be one of
    seconds. Timers (`ms`) are in seconds before it. Sets have members instead of values and take no notice of it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for observer, other in (("histogram", "summary"), ("summary", "histogram")):
            if self.observed.kind == observer and getattr(self, f"{other}_options") is not None:
                raise InvalidField(f"{other}_options", f"a {observer} has no options of a {other}")
        if self.action == "map" and not self.name:
            raise InvalidField("name", "a rule needs the name of the metric, unless its action is drop")
        if self.match_type is None:
            return  # checked when the defaults are known
        if self.match_type == "regex":
            check_regex(self.match, "match")
            pattern = re.compile(self.match, re.ASCII)
            groups = {str(number) for number in range(pattern.groups + 1)} | set(pattern.groupindex)
        else:
            segments = self.match.split(".")
            if any("*" in segment and segment != "*" for segment in segments):
                raise InvalidField(
                    "match", f'"{self.match}": a * must be a whole segment; "match_type: regex" can do more'
                )
            groups = {str(number + 1) for number in range(segments.count("*"))}
        self._check_texts(groups)

    def _check_texts(self, groups: set[str]) -> None:
        variable = VARIABLE if self.match_type == "regex" else GROUP
        for where, text in (("name", self.name), *((f"labels.{label}", text) for label, text in self.labels.items())):
            for found in variable.finditer(text):
                name = next((group for group in found.groups() if group), "")
                if name and name not in groups:
                    hint = f"; ${{1}} sets a group off from what follows ({found[0]})" if not name.isdigit() else ""
                    raise InvalidField(where, f'"{text}": `match` has no group {name}{hint}')
        if self.name and not is_metric_name(variable.sub("_", self.name)):
            raise InvalidField("name", f'"{self.name}" is no name of a metric; use letters, digits, _ and :')
        check_labels(self.labels)

    def under(self, defaults: MappingDefaultsConfig) -> MappingRuleConfig:
        """The rule, where it leaves open how `match` is read, with what these say.

        Raises:
            InvalidField: what it says does not go with that.
        """
        return self if self.match_type else msgspec.structs.replace(self, match_type=defaults.match_type)
