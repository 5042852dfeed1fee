"""Metrics in the base units that Prometheus' conventions ask for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from podpatterns.adapter.reasons import Tried
from podpatterns.adapter.selection import Selection, check_selection
from podpatterns.adapter.transforms import Transform, TransformConfig
from podpatterns.formats.families import Family, Rewritten, block, labels_of
from podpatterns.formats.numbers import number, scaled
from podpatterns.runtime.decode import suggest
from podpatterns.runtime.schema import Config, InvalidField


@dataclass(frozen=True, slots=True)
class Unit:
    """What it measures, how much of the base unit it is, and how names end that have it, the usual ending first."""

    measure: str
    factor: float
    endings: tuple[str, ...]


UNITS: dict[str, Unit] = {
    "ns": Unit("time", 1e-9, ("nanoseconds", "nanos", "ns")),
    "us": Unit("time", 1e-6, ("microseconds", "micros", "us")),
    "ms": Unit("time", 1e-3, ("milliseconds", "millis", "msec", "ms")),
    "s": Unit("time", 1.0, ("seconds", "secs", "sec", "s")),
    "m": Unit("time", 60.0, ("minutes", "mins", "min")),
    "h": Unit("time", 3600.0, ("hours",)),
    "d": Unit("time", 86400.0, ("days",)),
    "bit": Unit("data", 0.125, ("bits",)),
    "B": Unit("data", 1.0, ("bytes",)),
    "KB": Unit("data", 1e3, ("kilobytes", "kb")),
    "MB": Unit("data", 1e6, ("megabytes", "mb")),
    "GB": Unit("data", 1e9, ("gigabytes", "gb")),
    "KiB": Unit("data", 2.0**10, ("kibibytes", "kib", "kilobytes", "kb")),
    "MiB": Unit("data", 2.0**20, ("mebibytes", "mib", "megabytes", "mb")),
    "GiB": Unit("data", 2.0**30, ("gibibytes", "gib", "gigabytes", "gb")),
    "%": Unit("share", 0.01, ("percent", "pct")),
    "ratio": Unit("share", 1.0, ("ratio",)),
}
"""Units by the names that the configuration has for them."""


class ConversionConfig(Config, frozen=True, kw_only=True):
    """One conversion: of which metrics, from which unit, to which."""

    metrics: list[str]
    """Which metrics: regular expressions that match a name as a whole, as the page has it without `_bucket`, `_count`
    and `_sum`."""

    unit: str
    """The unit that they are in: ns, us, ms, s, m, h, d; bit, B, KB, MB, GB, KiB, MiB, GiB; % or ratio."""

    to: str
    """The unit that they should be in; s, B and ratio are what Prometheus' conventions ask for."""

    def __post_init__(self) -> None:
        for field, unit in (("unit", self.unit), ("to", self.to)):
            if unit not in UNITS:
                raise InvalidField(field, f'"{unit}" is no unit that is known here{suggest(unit, UNITS)}')
        if UNITS[self.unit].measure != UNITS[self.to].measure:
            measures = f"{self.unit} measures {UNITS[self.unit].measure}, {self.to} {UNITS[self.to].measure}"
            raise InvalidField("to", f"{measures}: neither can be converted into the other")
        if not self.metrics:
            raise InvalidField("metrics", "name the metrics that are in this unit")
        check_selection("metrics", self.metrics)


class ConvertConfig(TransformConfig, frozen=True, kw_only=True):
    """Converts metrics to another unit: values, the bounds of buckets, and the unit at the end of the name.

    `shop_latency_ms` becomes `shop_latency_seconds`; a name that does not say its unit gets the new one. Exemplars and
    native histograms, whose buckets lie where they lie, are left out; the classic buckets stay.
    """

    EXAMPLE: ClassVar[str] = """
    type: convert
    conversions:
    - {metrics: [".*_ms"], unit: ms, to: s}
    """

    conversions: list[ConversionConfig]
    """Each metric is converted by the first that is for it."""

    def build(self) -> Transform:
        """The transform."""
        return Convert(self.conversions)


class Convert:
    """All conversions, made ready."""

    def __init__(self, configs: list[ConversionConfig]) -> None:
        self._conversions = [Conversion(config) for config in configs]

    def apply(self, families: list[Family]) -> list[Family]:
        """The families, converted in place."""
        for family in families:
            for conversion in self._conversions:
                if conversion.wants(family.name):
                    conversion.convert(family)
                    break
        return families

    def tried(self, family: Family) -> Iterator[Tried]:
        """For people: each conversion up to the one that is for the metric."""
        for place, conversion in enumerate(self._conversions, 1):
            what = f"conversion {place} ({conversion})"
            if conversion.wants(family.name):
                becomes = f"{family.name} becomes {conversion.name(family.name)}"
                yield Tried("matched", what, f"a {family.kind} has no unit" if family.kind in UNITLESS else becomes)
                return
            yield Tried("no match", what, f"the name is {family.name}")


UNITLESS = ("info", "stateset")
"""Kinds that are never converted."""


class Conversion:
    """Remembers what becomes of each label text with a bound."""

    def __init__(self, config: ConversionConfig) -> None:
        self._text = f"{', '.join(config.metrics)}, {config.unit} to {config.to}"
        self._wanted = Selection(config.metrics)
        self._from, self._to = UNITS[config.unit], UNITS[config.to]
        self._scale = self._from.factor / self._to.factor
        self._known = Rewritten(self._bound)

    def __str__(self) -> str:
        return self._text

    def wants(self, name: str) -> bool:
        """Whether it is for a metric."""
        return name in self._wanted

    def convert(self, family: Family) -> None:
        """Change a family in place. States and counts of samples have no unit and stay."""
        if family.kind in UNITLESS:
            return
        family.name = self.name(family.name)
        family.unit = self._to.endings[0] if family.unit else ""
        family.exemplars, family.natives = {}, {}  # their values and buckets are in the old unit
        if family.suffixes is None:
            family.values = list(scaled(family.values, self._scale))
            return
        family.values = [
            new if suffix in ("", "_sum", "_gsum") else value
            for suffix, value, new in zip(
                family.suffixes, family.values, scaled(family.values, self._scale), strict=True
            )
        ]
        family.blocks = [
            self._known[text] if suffix == "_bucket" else text
            for suffix, text in zip(family.suffixes, family.blocks, strict=True)
        ]

    def name(self, name: str) -> str:
        """The name with the new unit at its end, in front of `_total`."""
        base = name.removesuffix("_total")
        total = name[len(base) :]
        for ending in self._from.endings:
            if base.endswith(f"_{ending}"):
                base = base.removesuffix(f"_{ending}")
                break
        return f"{base}_{self._to.endings[0]}{total}"

    def _bound(self, text: str) -> str:
        # Twelve digits: bounds are labels, and 0.1 ms must not become 0.00010000000000000001 s.
        return block(
            (name, number(float(f"{float(value) * self._scale:.12g}")) if name == "le" else value)
            for name, value in labels_of(text)
        )
