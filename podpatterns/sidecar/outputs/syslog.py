"""A syslog server, over TCP or TLS."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from itertools import repeat
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
        body = b"".join([messages(self.config, batch, now) for batch in batches])
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


def messages(config: SyslogConfig, batch: Batch, now: int) -> bytes:
    """The framed message of each record. `now` in nanoseconds."""
    ndjson = batch.ndjson
    host = config.hostname or syslog.word(os.uname().nodename, 255)
    header = f"{host} {config.app_name} - - -"
    facility = syslog.FACILITIES.index(config.facility) * 8
    whens, levels = _column(ndjson, config.time_field), _column(ndjson, config.level_field)
    texts = jsonlines.split(ndjson)
    if config.message == "message":
        found = jsonlines.column(ndjson, MESSAGE)
        texts = [each.encode() if isinstance(each, str) else text for each, text in zip(found, texts, strict=True)]
    plain = syslog.head(facility + INFO.syslog, rfc3339(now), header)
    if whens is None and levels is None:
        return syslog.framed(repeat(plain), texts)
    heads = [
        syslog.head(facility + (severity(level) or INFO).syslog, rfc3339(nanoseconds(when) or now), header)
        for when, level in zip(whens or repeat(None), levels or repeat(None), strict=False)
    ]
    return syslog.framed(heads, texts)


def _column(ndjson: bytes, name: str | None) -> list[Any] | None:
    """A field of each record; None if no record has it."""
    found = jsonlines.column(ndjson, name) if name is not None else []
    return found if any(each is not None for each in found) else None
