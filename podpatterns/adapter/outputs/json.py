"""JSON lines, to standard output, a file or a socket."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec

from podpatterns.adapter.carriers import Carrier, File, StandardOutput, Stream, check_destination
from podpatterns.adapter.outputs import Output, OutputContext
from podpatterns.adapter.pushing import Carried, PushConfig, bodies
from podpatterns.formats import json_samples
from podpatterns.formats.families import Family
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Address

LINES = 5000
"""Lines per delivery."""

CONTENT_TYPE = "application/x-ndjson"


class JsonConfig(PushConfig, frozen=True, kw_only=True):
    """Writes every sample as a line of JSON: to standard output by default, from where logs are shipped anyway.

    `{"name":"shop_orders_total","labels":{"country":"ch"},"value":3.0,"time":1700000000.0,"kind":"counter"}`
    """

    EXAMPLE: ClassVar[str] = """
    type: json
    interval: 1m
    """
    WRITES: ClassVar[frozenset[str]] = frozenset({"path"})

    path: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """A file that lines are appended to. None, and no `address`: standard output."""

    address: Address | None = None
    """Where lines are sent over a connection: `host:port`, or `unix:/path`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path is not None and self.address is not None:
            raise InvalidField("path", "lines go to one place: `path` or `address`")
        check_destination(self.address, "127.0.0.1:9000")

    def build(self, context: OutputContext) -> Output:
        """The output."""
        carrier: Carrier = StandardOutput()
        if self.path is not None:
            carrier = File(self.path)
        elif self.address is not None:
            carrier = Stream(self.address, "whoever takes JSON", repeatable=True)
        return Json(self, carrier, context)


class Json(Carried):
    """Samples as they are."""

    def __init__(self, config: JsonConfig, carrier: Carrier, context: OutputContext) -> None:
        super().__init__(config, carrier, context)
        self.config = config

    def encode(self, families: Sequence[Family], now: float) -> list[bytes]:
        """Bodies of up to 5,000 lines."""
        return bodies(json_samples.render(families, now), LINES)

    def render(self, families: Sequence[Family], accept: str) -> tuple[bytes, str]:  # noqa: ARG002 - it has one form
        """Every line."""
        return b"".join(json_samples.render(families, time.time())), CONTENT_TYPE
