"""What can be configured of a mapping; the fields are statsd_exporter's own.

Source: prometheus/statsd_exporter README.md, "Metric Mapping and Configuration".
"""

from __future__ import annotations

import re
from itertools import pairwise
from math import isfinite
from typing import Annotated, Literal

import msgspec

from podpatterns.formats.families import is_metric_name
from podpatterns.runtime.regex import check_regex
from podpatterns.runtime.schema import Config, InvalidField
from podpatterns.runtime.units import Duration

GROUP = re.compile(r"\$(?:\{(\d+)\}|(\d+))", re.ASCII)
"""In a glob's texts: `$1x` is the first group and an x."""
VARIABLE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))", re.ASCII)
"""In a regular expression's, as Go has it: `$1x` is the variable `1x`."""
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


class HistogramOptionsConfig(Config, frozen=True, kw_only=True):
    """What a histogram is like."""

    buckets: Annotated[list[float], msgspec.Meta(min_length=1, max_length=200)]
    """Upper bounds, ascending; +Inf is added by itself. In seconds for timers."""

    def __post_init__(self) -> None:
        if not all(map(isfinite, self.buckets)) or any(after <= before for before, after in pairwise(self.buckets)):
            raise InvalidField("buckets", "the bounds must be finite and ascending; +Inf is added by itself")


class QuantileConfig(Config, frozen=True, kw_only=True):
    """One quantile of a summary."""

    quantile: Annotated[float, msgspec.Meta(ge=0, le=1)]
    """Which: 0.5 is the median."""

    error: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.01
    """How far the rank may be off in statsd_exporter. Here values are off by at most 1 %, whatever stands here."""


class SummaryOptionsConfig(Config, frozen=True, kw_only=True):
    """What a summary is like."""

    quantiles: Annotated[list[QuantileConfig], msgspec.Meta(max_length=20)] = msgspec.field(
        default_factory=lambda: [QuantileConfig(quantile=each) for each in (0.5, 0.9, 0.99)]
    )
    """The quantiles that are shown, each of the last `max_age`."""

    max_age: Duration = Duration("10m")
    """How far back quantiles look."""

    age_buckets: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5
    """In how many steps old samples go."""

    buf_cap: Annotated[int, msgspec.Meta(ge=0)] = 500
    """Taken for the sake of files made for statsd_exporter; nothing is buffered here."""

    def __post_init__(self) -> None:
        if self.max_age <= 0:
            raise InvalidField("max_age", "quantiles have to look back some time, such as 10m")


class MappingDefaultsConfig(Config, frozen=True, kw_only=True):
    """What rules have that do not say otherwise: what stands under `defaults` in a file of statsd_exporter."""

    match_type: Literal["glob", "regex"] = "glob"
    """How `match` is read."""

    glob_disable_ordering: bool = False
    """Whether the most specific glob wins instead of the first one: the one whose first segments are no wildcards."""

    observer_type: Literal["histogram", "summary"] | None = None
    """What timers, histograms and distributions become. None: as `series.timers` has it."""

    histogram_options: HistogramOptionsConfig | None = None
    """Of histograms. None: the buckets of `series`."""

    summary_options: SummaryOptionsConfig | None = None
    """Of summaries. None: three quantiles of ten minutes."""

    ttl: Duration | None = None
    """How long a series may be without samples. None: as `series.expire` has it."""


class MappingRuleConfig(Config, frozen=True, kw_only=True):
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

    observer_type: Literal["histogram", "summary"] | None = None
    """What timers, histograms and distributions become. None: as `mapping_defaults` has it."""

    histogram_options: HistogramOptionsConfig | None = None
    """Of a histogram. None: as `mapping_defaults` has it."""

    summary_options: SummaryOptionsConfig | None = None
    """Of a summary. None: as `mapping_defaults` has it."""

    ttl: Duration | None = None
    """How long a series may be without samples before it is dropped, or hidden if it is a counter. None: as
    `mapping_defaults` has it, or `series.expire`."""

    def __post_init__(self) -> None:
        if self.ttl is not None and self.ttl <= 0:
            raise InvalidField("ttl", "a series cannot expire at once; leave `ttl` out to keep it")
        for observer, other in (("histogram", "summary"), ("summary", "histogram")):
            if self.observer_type == observer and getattr(self, f"{other}_options") is not None:
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
        for label in self.labels:
            if not _LABEL.fullmatch(label) or label in ("le", "quantile") or label.startswith("__"):
                raise InvalidField(f"labels.{label}", f'"{label}" cannot be a label; use letters, digits and _')

    def under(self, defaults: MappingDefaultsConfig) -> MappingRuleConfig:
        """The rule with what it leaves open.

        Raises:
            InvalidField: what it says does not go with that.
        """
        observer = self.observer_type or defaults.observer_type
        if observer is None and (self.summary_options or self.histogram_options):
            observer = "summary" if self.summary_options else "histogram"
        return msgspec.structs.replace(
            self,
            match_type=self.match_type or defaults.match_type,
            observer_type=observer,
            histogram_options=None if observer == "summary" else self.histogram_options or defaults.histogram_options,
            summary_options=None
            if observer != "summary"
            else self.summary_options or defaults.summary_options or SummaryOptionsConfig(),
            ttl=self.ttl if self.ttl is not None else defaults.ttl,
        )
