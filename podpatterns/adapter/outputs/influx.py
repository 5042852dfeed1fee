"""InfluxDB's line protocol, posted to a database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

from podpatterns.adapter.outputs import Output, OutputContext
from podpatterns.adapter.posting import Post, PostConfig
from podpatterns.adapter.pushing import bodies
from podpatterns.formats import influx
from podpatterns.formats.families import Family
from podpatterns.formats.points import points
from podpatterns.runtime.schema import InvalidField

LINES = 5000
"""Lines per request, as InfluxDB's documentation advises."""

CONTENT_TYPE = "text/plain; charset=utf-8"


class InfluxConfig(PostConfig, frozen=True, kw_only=True):
    """Writes InfluxDB lines: every sample is a measurement of its metric's name, with the field `value`.

    For InfluxDB 1, 2 and 3, VictoriaMetrics, QuestDB and others that take its lines. `token` is sent as
    `Authorization: Token …`.
    """

    EXAMPLE: ClassVar[str] = """
    type: influx
    url: http://influxdb.monitoring:8086/api/v2/write?org=shop&bucket=metrics
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if parse_qs(urlsplit(self.url).query).get("precision", ["ns"])[-1] not in ("ns", "n"):
            raise InvalidField("url", "lines are written with nanoseconds; leave `precision` out")

    def build(self, context: OutputContext) -> Output:
        """The output."""
        return Influx(self, context)


class Influx(Post):
    """Samples that are not finite are left out: the protocol has no place for them."""

    scheme = "Token"
    finite = True

    def __init__(self, config: InfluxConfig, context: OutputContext) -> None:
        super().__init__(config, {"Content-Type": CONTENT_TYPE}, context)

    def encode(self, families: Sequence[Family], now: float) -> list[bytes]:
        """Bodies of up to 5,000 lines."""
        return bodies(map(str.encode, influx.render(points(families, now))), LINES)

    def render(self, families: Sequence[Family], accept: str) -> tuple[bytes, str]:  # noqa: ARG002 - it has one form
        """Every line, without times."""
        return "".join(influx.render(points(families, None))).encode(), CONTENT_TYPE
