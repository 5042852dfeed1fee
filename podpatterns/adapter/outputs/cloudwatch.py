"""Amazon CloudWatch, by its embedded metric format."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import msgspec

from podpatterns.adapter.carriers import Carrier, Datagrams, File, StandardOutput, Stream, check_destination
from podpatterns.adapter.deltas import adds_up
from podpatterns.adapter.outputs import Output, OutputContext
from podpatterns.adapter.pushing import Carried, PushConfig, bodies
from podpatterns.formats import emf
from podpatterns.formats.families import Family, label_name
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Address

EVENTS = 500
"""Events per delivery."""

LARGEST = 60_000
"""Bytes of a datagram to the agent, which takes events whole."""

CONTENT_TYPE = "application/x-ndjson"


class CloudwatchConfig(PushConfig, frozen=True, kw_only=True):
    """Writes CloudWatch's embedded metric format, for an agent that ships logs or for the CloudWatch agent itself.

    Counters and counts are what was added since the last interval, if anything was, as CloudWatch has it; gauges are as
    they are. Histograms become count and sum, for each bucket would be a metric that is paid for; so is each of the
    adapter's own, which `own_metrics: false` leaves out. What a source had counted before the adapter looked for the
    first time is not sent.
    """

    EXAMPLE: ClassVar[str] = """
    type: cloudwatch
    namespace: Shop
    labels: {service: catalog}
    """
    WRITES: ClassVar[frozenset[str]] = frozenset({"path"})

    namespace: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[0-9A-Za-z./_#:-]{1,255}$",
            extra={"is": "up to 255 letters, digits and the characters . - _ / # :"},
        ),
    ]
    """Where CloudWatch shows the metrics."""

    labels: dict[str, str] = {}
    """Dimensions that all metrics get, unless they have them already. CloudWatch takes 30 altogether."""

    path: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """A file that events are appended to. None, and no `address`: standard output."""

    address: Address | None = None
    """The CloudWatch agent, usually `127.0.0.1:25888`."""

    protocol: Literal["tcp", "udp"] = "tcp"
    """How the agent is spoken to."""

    log_group: str = ""
    """The log group that the agent is to use. Empty: its own default."""

    log_stream: str = ""
    """The log stream that the agent is to use. Empty: its own default."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path is not None and self.address is not None:
            raise InvalidField("path", "events go to one place: `path` or `address`")
        check_destination(self.address, "127.0.0.1:25888")
        for name in self.labels:
            if not name or label_name(name) != name or name.startswith("_"):
                raise InvalidField(f"labels.{name}", f'"{name}" cannot be a label; use letters, digits and _')

    def build(self, context: OutputContext) -> Output:
        """The output."""
        carrier: Carrier = StandardOutput()
        if self.path is not None:
            carrier = File(self.path)
        elif self.address is not None and self.protocol == "udp":
            carrier = Datagrams(self.address, LARGEST)
        elif self.address is not None:
            carrier = Stream(self.address, "the CloudWatch agent", repeatable=False)
        return Cloudwatch(self, carrier, context)


class Cloudwatch(Carried):
    """Remembers what was sent, so that the next time only the difference is."""

    def __init__(self, config: CloudwatchConfig, carrier: Carrier, context: OutputContext) -> None:
        super().__init__(config, carrier, context)
        self.config = config
        self._deltas = context.deltas
        about = {"LogGroupName": config.log_group, "LogStreamName": config.log_stream}
        self._about = {name: value for name, value in about.items() if value}

    def encode(self, families: Sequence[Family], now: float) -> list[bytes]:
        """Bodies of up to 500 events."""
        events, left_out = self._events_of(self._deltas.changes(families, now), now)
        for reason, count in left_out.items():
            self.left_out(reason, count)
        return bodies(events, EVENTS)

    def render(self, families: Sequence[Family], accept: str) -> tuple[bytes, str]:  # noqa: ARG002 - it has one form
        """Every event as it would be sent the first time, sums included; for people."""
        return b"".join(self._events_of(families, time.time())[0]), CONTENT_TYPE

    def _events_of(self, families: Sequence[Family], now: float) -> tuple[list[bytes], dict[str, int]]:
        return emf.render(families, self.config.namespace, now, adds_up, labels=self.config.labels, about=self._about)
