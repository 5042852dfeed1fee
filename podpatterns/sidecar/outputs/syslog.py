"""A syslog server, over TCP or TLS."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

from podpatterns.formats import jsonlines, syslog
from podpatterns.formats.severity import INFO, severity
from podpatterns.formats.timestamps import nanoseconds, rfc3339
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Address
from podpatterns.sidecar.batch import MESSAGE, Batch
from podpatterns.sidecar.connection import ConnectingConfig, Connection
from podpatterns.sidecar.outputs import ACCEPTED, Output, Receipt


class SyslogConfig(ConnectingConfig, frozen=True, kw_only=True):
    """Sends RFC 5424 messages over TCP or TLS, each with its length in front (octet counting).

    **Best effort**: syslog has no acknowledgements. A delivery counts when the far side's kernel has taken it; what a
    server that dies then had not read is lost, and nobody can know it.
    """

    WHERE = ("address",)
    EXAMPLE: ClassVar[str] = "{type: syslog, address: 'syslog.logging:6514', tls: true, app_name: shop}"

    address: Address
    """Where the server listens; `unix:/path` for a stream socket."""

    facility: str = "local0"
    """The facility of all messages: `user`, `daemon`, `local0` to `local7` and so on."""

    hostname: str | None = None
    """The host in each message. None: the pod's name, as the kernel knows it."""

    app_name: str = "podpatterns"
    """The application in each message."""

    message: Literal["record", "message"] = "record"
    """What is sent as the text: the whole `record` as JSON, or only its `message`."""

    level_field: str | None = "level"
    """The field that becomes the severity; what is no known level, or None: `info`."""

    time_field: str | None = "time"
    """The field that says when a line was written. None, or what is no time: the time of the delivery."""

    def __post_init__(self) -> None:
        """Check the header's words."""
        ConnectingConfig.__post_init__(self)
        if self.facility not in syslog.FACILITIES:
            raise InvalidField("facility", f'"{self.facility}" is none; known: {", ".join(syslog.FACILITIES)}')
        for name, limit in (("hostname", 255), ("app_name", 48)):
            text = getattr(self, name)
            if text is not None and syslog.word(text, limit) != text:
                raise InvalidField(name, f"must be 1 to {limit} printable ASCII characters without a space")

    def build(self) -> Syslog:
        """The output."""
        return Syslog(self)


class Syslog(Output):
    """Writes over one connection that is kept."""

    def __init__(self, config: SyslogConfig) -> None:
        self.config = config
        self._connection: Connection | None = None

    async def start(self) -> None:
        """Read the certificates. Raises StartError."""
        self._connection = Connection(self.config.address, self.config)

    async def deliver(self, batches: Sequence[Batch]) -> Receipt:
        """Send; return when the far side's kernel has everything. Raises OSError."""
        connection = self._connection
        assert connection is not None, "started"
        now = time.time_ns()
        body = b"".join(item for batch in batches for item in messages(self.config, batch, now))
        try:
            async with asyncio.timeout(self.config.timeout):
                if not connection.is_open:
                    await connection.open()
                connection.writer.write(body)
                await connection.writer.drain()
                await connection.settled()
        except BaseException:
            connection.close()
            raise
        return ACCEPTED

    async def stop(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


def messages(config: SyslogConfig, batch: Batch, now: int) -> Iterator[bytes]:
    """The framed message of each record. `now` in nanoseconds."""
    ndjson = batch.ndjson
    facility = syslog.FACILITIES.index(config.facility) * 8
    host = config.hostname or syslog.word(os.uname().nodename, 255)
    header = f"{host} {config.app_name} - - -"
    nothing: list[Any] = [None] * len(batch)
    times = jsonlines.column(ndjson, config.time_field) if config.time_field is not None else nothing
    levels = jsonlines.column(ndjson, config.level_field) if config.level_field is not None else nothing
    texts = jsonlines.column(ndjson, MESSAGE) if config.message == "message" else nothing
    for record, when, level, text in zip(jsonlines.split(ndjson), times, levels, texts, strict=True):
        yield syslog.message(
            facility + (severity(level) or INFO).syslog,
            rfc3339(nanoseconds(when) or now),
            header,
            text.encode() if isinstance(text, str) else record,
        )
