"""Whether a figure is within its limits."""

from __future__ import annotations

from collections.abc import Iterable
from math import isnan
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

import msgspec

from podpatterns.adapter.checks import Check, CheckContext, ConnectingConfig, Failed
from podpatterns.adapter.fetching import refuse_elsewhere
from podpatterns.formats import prometheus
from podpatterns.formats.exposition import Malformed
from podpatterns.formats.families import Family, labels_of
from podpatterns.runtime import http_get
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Size, Url


class MetricConfig(ConnectingConfig, frozen=True, kw_only=True):
    """Passes if every series of a metric lies within limits: of what the adapter shows, or of another page."""

    EXAMPLE: ClassVar[str] = "{type: metric, metric: shop_queue_depth, labels: {queue: orders}, max: 1000}"

    metric: Annotated[str, msgspec.Meta(min_length=1)]
    """The name of its samples as it stands on the page: with `_total`, `_count` and the like."""

    labels: dict[str, str] = {}
    """Labels that a series must have to be looked at. None: every series of the metric is."""

    min: float | None = None
    """The least value that passes."""

    max: float | None = None
    """The largest value that passes."""

    url: Url | None = None
    """A page in Prometheus' text format. None: what the adapter itself shows, its own figures included; sources that
    are asked are then asked for the check as well."""

    max_size: Size = Size("4MiB")
    """Bytes of that page that are read."""

    absent: bool = False
    """Whether it passes while there is no such series, as before the application has counted anything."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min is None and self.max is None:
            raise ValueError("needs a limit: min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise InvalidField("max", f"is less than min, {self.min:g}; no value lies between")
        if self.url is not None:
            refuse_elsewhere("url", urlsplit(self.url).hostname or "", remote=self.remote)

    def build(self, context: CheckContext) -> Check:
        """The check."""
        return Metric(self, context)

    def asks(self) -> str:
        """What is asked."""
        where = self.url.redacted if self.url is not None else "what the adapter shows"
        limits = [f"{word} {limit:g}" for word, limit in (("min", self.min), ("max", self.max)) if limit is not None]
        labels = ", ".join(f'{name}="{value}"' for name, value in self.labels.items())
        return f"compare {self.metric}{f'{{{labels}}}' if labels else ''} with {', '.join(limits)}, from {where}"


class Metric(Check):
    """Looks at every series that is meant."""

    def __init__(self, config: MetricConfig, context: CheckContext) -> None:
        self._config, self._context = config, context
        self._wanted = config.labels.items()

    async def probe(self) -> None:
        """Get the figures, and compare."""
        config = self._config
        values = list(self._values(await self._families()))
        if not values and not config.absent:
            raise Failed("there is no such series")
        for value in values:
            if isnan(value):
                raise Failed("the value is not a number")
            if config.max is not None and value > config.max:
                raise Failed(f"{value:g} is more than {config.max:g}")
            if config.min is not None and value < config.min:
                raise Failed(f"{value:g} is less than {config.min:g}")

    async def _families(self) -> list[Family]:
        config = self._config
        if config.url is None:
            return await self._context.collect(config.timeout)
        try:
            status, body = await http_get.get_url(config.url, body=True, limit=config.max_size)
        except http_get.BadAnswer as error:
            raise Failed(str(error)) from None
        if status != 200:
            raise Failed(f"status {status}")
        if len(body) == config.max_size:
            body = body[: body.rfind(b"\n") + 1]
        try:
            return prometheus.parse(body, problems=[])
        except Malformed as error:
            raise Failed(f"the page is not in Prometheus' text format: {error}") from None

    def _values(self, families: Iterable[Family]) -> Iterable[float]:
        for family in families:
            if not self._config.metric.startswith(family.name):
                continue
            suffixes = family.suffixes or [""] * len(family.values)
            for suffix, text, value in zip(suffixes, family.blocks, family.values, strict=True):
                if family.name + suffix == self._config.metric and self._wanted <= dict(labels_of(text)).items():
                    yield value
