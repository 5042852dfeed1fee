"""A syslog server."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from podpatterns.testing.streams.stream import FakeStream, Fatal


class FakeSyslog(FakeStream):
    """A syslog server for RFC 5424 over TCP.

    Strict: octet counting, every header field in its form, a time of RFC 3339 with at most six digits, text in UTF-8.
    `messages` are the fields of each; `records` their texts, where these are JSON, or else `{"message": text}`.
    """

    HEADER = re.compile(
        rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)) ([!-~]{1,255}) ([!-~]{1,48})"
        rb" ([!-~]{1,128}) ([!-~]{1,32}) (-|(?:\[[^\]]+\])+) "
    )

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG002 - as above
        """Messages, none of them answered."""
        while True:
            length = await reader.readuntil(b" ")
            if not re.fullmatch(rb"[1-9]\d{0,8} ", length):
                raise ValueError(f"not a length: {length!r}")
            whole = await reader.readexactly(int(length))
            late = await self.fate()
            match = self.HEADER.match(whole)
            if match is None or int(match[1]) > 191:
                raise ValueError(f"not RFC 5424: {whole[:80]!r}")
            text = whole[match.end() :].decode()
            facility, severity = divmod(int(match[1]), 8)
            fields = dict(zip(("time", "host", "app"), (group.decode() for group in match.groups()[1:4]), strict=True))
            self.messages.append({"facility": facility, "severity": severity, **fields, "text": text})
            try:
                record = json.loads(text)
            except ValueError:
                record = None
            self.records.append(record if isinstance(record, dict) else {"message": text})
            if late:
                raise Fatal
