"""Graphite's plaintext lines, sent to Carbon."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec

from podpatterns.adapter.carriers import Stream, check_destination
from podpatterns.adapter.outputs import Output, OutputContext
from podpatterns.adapter.pushing import Carried, PushConfig, bodies
from podpatterns.formats import graphite
from podpatterns.formats.families import Family
from podpatterns.formats.points import Point, points
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Address

LINES = 5000
"""Lines per delivery: some 400 KB, so that one that fails repeats no more than that."""

CONTENT_TYPE = "text/plain; charset=utf-8"


class GraphiteConfig(PushConfig, frozen=True, kw_only=True):
    """Sends Graphite lines over TCP: to Carbon, its relays, and everything that speaks its plaintext.

    Carbon acknowledges nothing: a delivery counts when the kernel has taken it, and one during which the connection
    breaks is repeated as a whole, which Graphite takes for the same values.
    """

    EXAMPLE: ClassVar[str] = """
    type: graphite
    address: graphite.monitoring:2003
    prefix: shop.
    """

    address: Address
    """Where Carbon listens: `host:port`, or `unix:/path`."""

    prefix: Annotated[str, msgspec.Meta(max_length=200)] = ""
    """What every name begins with, with the dot that ends it."""

    tags: bool = True
    """Whether labels become tags (`name;label=value`, Graphite 1.1 and later). Off: segments of the name,
    `name.label.value`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[^\s;~]*", self.prefix):
            raise InvalidField(
                "prefix", f'"{self.prefix}" cannot begin a name in Graphite; use letters, digits and dots'
            )
        check_destination(self.address, "graphite:2003")

    def build(self, context: OutputContext) -> Output:
        """The output."""
        return Graphite(self, context)


class Graphite(Carried):
    """Names as Graphite has them."""

    finite = True

    def __init__(self, config: GraphiteConfig, context: OutputContext) -> None:
        super().__init__(config, Stream(config.address, "Carbon", repeatable=True), context)
        self.config = config

    def encode(self, families: Sequence[Family], now: float) -> list[bytes]:
        """Bodies of up to 5,000 lines."""
        lines = graphite.render(map(self._named, points(families, now)), tags=self.config.tags)
        return bodies(map(str.encode, lines), LINES)

    def render(self, families: Sequence[Family], accept: str) -> tuple[bytes, str]:  # noqa: ARG002 - it has one form
        """Every line, with -1 for the time: whoever reads it takes it as now."""
        lines = graphite.render(map(self._named, points(families, None)), tags=self.config.tags)
        return "".join(lines).encode(), CONTENT_TYPE

    def _named(self, point: Point) -> Point:
        return Point(self.config.prefix + point.name, point.labels, point.value, point.stamp)
