"""What can be configured in the adapter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

import msgspec

from podpatterns.adapter.fetching import check_sources
from podpatterns.adapter.health import HealthConfig
from podpatterns.adapter.inputs import InputConfig
from podpatterns.adapter.logs import LogConfig
from podpatterns.adapter.mapping_config import MappingDefaultsConfig, MappingRuleConfig, check_bounds
from podpatterns.adapter.naming import check_names
from podpatterns.adapter.outputs import OutputConfig
from podpatterns.adapter.store import Shape
from podpatterns.adapter.transforms import TransformConfig
from podpatterns.runtime.config import PatternConfig
from podpatterns.runtime.schema import Config, InvalidField, InvalidFields, component_type
from podpatterns.runtime.units import Duration
from podpatterns.runtime.uses import clash

if TYPE_CHECKING:
    from podpatterns.adapter.runtime import Adapter
    from podpatterns.runtime.service import Context


class SeriesConfig(Config, frozen=True, kw_only=True):
    """How pushed samples become series, and how many there may be."""

    budget: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 20_000
    """Series altogether, of all that is pushed. What comes beyond goes to one series `{overflow="true"}` per metric
    (with OTLP for each resource and library), so that sums stay right, and is counted. So does a metric whose name is
    new, to `podpatterns_overflow_counters_total` and others like it, one for each type; with OTLP it is refused, which
    the sender is told. 20,000 series take some 10 MB."""

    budget_per_metric: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 5_000
    """Series of one metric, so that a single unlucky label cannot take the room of all others."""

    timers: Literal["histogram", "summary"] = "histogram"
    """What timers, histograms and distributions become. `histogram` can be added up over pods, `summary` holds sum
    and count alone and is a tenth of the size."""

    buckets: Annotated[list[float], msgspec.Meta(min_length=1, max_length=200)] = msgspec.field(
        default_factory=lambda: list(Shape().buckets)
    )
    """Upper bounds of the histograms' buckets, ascending; in seconds for timers. The default is Prometheus' own, made
    for the latency of requests."""

    naming: Literal["prometheus", "plain"] = "prometheus"
    """`prometheus`: names follow Prometheus' conventions: counters end in `_total`, timers in `_seconds`. `plain`:
    names are only freed of characters that Prometheus does not take. Either way timers are in seconds."""

    set_window: Duration = Duration("1m")
    """A StatsD set shows how many different members were seen in the last whole window of this length."""

    expire: Duration | None = None
    """How long a series may be without samples. Then gauges, sets and timers are dropped, which frees their place in
    the budget; they begin anew with the next sample. Counters leave the page and keep their value, with which they
    come back when they grow. Looked for ten times in that span. None: never, as an application that is quiet for a
    night should find its series where they were."""

    def __post_init__(self) -> None:
        if self.expire is not None and self.expire <= 0:
            raise InvalidField("expire", "a series cannot expire at once; leave `expire` out to keep all for ever")
        check_bounds("buckets", self.buckets)
        if self.set_window <= 0:
            raise InvalidField("set_window", "a window must be longer than 0s")

    @property
    def shape(self) -> Shape:
        """The same for the store."""
        return Shape(
            buckets=tuple(self.buckets),
            histograms=self.timers == "histogram",
            units=self.naming == "prometheus",
            set_window=self.set_window,
            budget=self.budget,
            budget_per_metric=self.budget_per_metric,
        )


class AdapterConfig(PatternConfig, frozen=True, kw_only=True):
    """The adapter: what an application puts out, in the form that others expect: metrics, logs, and whether it is well.

    Metrics go from `inputs` to `outputs`; `logs` are written anew in one form; `health` is one endpoint out of many
    checks. Each can stand alone.
    """

    inputs: list[InputConfig] = []
    """Where metrics come from; what they bring is merged."""

    mapping: list[MappingRuleConfig] = []
    """Rules that make names and labels out of the dotted names of pushed lines: the list that stands under `mappings`
    in a file of statsd_exporter. Applied when a series is new, before the transforms; a name that no rule matches
    stays as it is. When the rules change while running, series that are there keep their names, and a timer goes on
    as the histogram or summary that it is."""

    mapping_defaults: MappingDefaultsConfig = MappingDefaultsConfig()
    """What rules of the mapping have that do not say otherwise, and what becomes of names that no rule matches: what
    stands under `defaults` in such a file."""

    transforms: list[TransformConfig] = []
    """What is changed on the way, in this order. A function marked with `@podpatterns.transform` can stand here."""

    outputs: list[OutputConfig] = []
    """Where metrics go; each output shows all of them."""

    logs: list[LogConfig] = []
    """Logs of the application that are written anew in one form. A change of them needs a restart."""

    health: HealthConfig | None = None
    """One HTTP endpoint that says whether the application is well. None: there is none."""

    series: SeriesConfig = SeriesConfig()
    """How pushed samples become series, and how many there may be."""

    own_metrics: bool = True
    """Whether the page shows what the adapter counts about itself (lines, refusals, drops, quarantine) beside the
    rest. They are on the admin endpoint's `/metrics` in any case."""

    def __post_init__(self) -> None:
        if not (self.inputs or self.outputs or self.health or self.logs):
            raise ValueError("nothing to adapt: name inputs and outputs for metrics, logs, or health")
        if self.outputs and not (self.inputs or self.health or self.logs):
            raise InvalidField("inputs", 'at least one is needed, such as "- type: statsd"')
        if self.inputs and not (self.outputs or self.health):
            raise InvalidField("outputs", 'at least one is needed, such as "- type: prometheus"')

        check_names("logs", self.logs)
        check_names("outputs", self.outputs)
        check_sources(self.inputs)
        _check_apart(self.logs)

        if (ports := clash(self)) is not None:
            first, second = ports
            raise InvalidField(second.field, f"port {second.number} is that of {first.field} already")

        wrong = []
        for index, rule in enumerate(self.mapping):
            try:
                rule.under(self.mapping_defaults)
            except InvalidField as error:
                wrong.append(InvalidField(f"mapping[{index}].{error.field}", str(error)))
        if wrong:
            raise InvalidFields(wrong)

        for index, transform in enumerate(self.transforms):
            if transform.REMEMBERS and len(self.outputs) > 1:
                name = component_type(type(transform))
                raise InvalidField(
                    f"transforms[{index}]",
                    f"{name} tells what has changed since the time before, which with several outputs is anybody's; "
                    f"leave one output, or run a second adapter",
                )

    def build(self, context: Context) -> Adapter:
        """The adapter's runtime."""
        from podpatterns.adapter.runtime import Adapter

        return Adapter(self, context)

    def warnings(self) -> Iterator[str]:
        """Rules of the mapping that can never match."""
        from podpatterns.adapter.explain import warnings

        return warnings(self)

    def with_input(self, name: str) -> Self | None:
        """One input alone, and no logs beside it."""
        found = super().with_input(name)
        return None if found is None else msgspec.structs.replace(found, logs=[])

    def explain(self, sample: str | None = None) -> Iterator[str]:
        """What would become of a sample: lines that the inputs take, or a page (None: some lines of StatsD)."""
        from podpatterns.adapter.explain import explain

        return explain(self, sample)


def _check_apart(logs: Sequence[LogConfig]) -> None:
    """Blame a log that would take away what another one reads, or spoil what it writes. Raises InvalidField."""
    alone = [index for index, log in enumerate(logs) if log.ALONE]
    if len(alone) > 1:
        raise InvalidField(f"logs[{alone[1]}]", "is a second one on standard input, of which each would get a part")
    written: dict[str, str] = {}
    for index, log in enumerate(logs):
        for field, path in log.writes():
            place = f"logs[{index}].{field}"
            other = written.setdefault(path, place)
            if other != place:
                raise InvalidField(place, f"{path} is also {other}; two logs need a file each")
