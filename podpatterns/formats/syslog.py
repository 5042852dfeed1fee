"""Syslog messages: RFC 5424 written, RFC 5424 and RFC 3164 read.

Sources: https://www.rfc-editor.org/rfc/rfc5424, https://www.rfc-editor.org/rfc/rfc3164 (which describes what was
found, not what should be), and RFC 6587 for the two ways to send messages over a stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "security", "console", "solaris-cron"),
    *(f"local{number}" for number in range(8)),
)
SEVERITIES = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")
_PRIORITY = re.compile(rb"<(\d{1,3})>")
_COUNT = re.compile(rb"([1-9]\d{0,8}) ")
_HEADER = re.compile(r"1 (\S+) (\S+) (\S+) (\S+) (\S+) ", re.ASCII)
_ELEMENT = re.compile(
    r"\[([^ =\]\"\x00-\x20\x7f-\uffff]{1,32})((?: [^ =\]\"]{1,32}=\"(?:[^\"\\\]]|\\.)*\")*)\]", re.DOTALL
)
_PARAMETER = re.compile(r" ([^ =\]\"]{1,32})=\"((?:[^\"\\\]]|\\.)*)\"", re.DOTALL)
_OLD_TIME = re.compile(r"([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S+) ")
_OLD_TAG = re.compile(r"([^\s\[:]{1,48})(?:\[([^\]\s]{1,128})\])?: ?")
_HOST = re.compile(r"([^\s:\[\]]{1,255}) ")


class Frames:
    """Messages out of the pieces of a stream, each with its length in front or a newline behind it (RFC 6587).

    Of a message longer than `limit` two bytes more are given, which show that it is; the rest is passed over.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit + 2
        self._data = b""
        self._skip = 0
        self._to_newline = False

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are whole by now."""
        self._data += data
        found: list[bytes] = []
        while (message := self._next()) is not None:
            found += [message] if message else []
        return found

    def rest(self) -> bytes:
        """What came after the last message and was not ended."""
        rest, self._data = self._data, b""
        return b"" if self._skip or self._to_newline else rest

    def _next(self) -> bytes | None:
        """A message; an empty one stands for bytes that were none, None for none yet."""
        data = self._data
        if self._skip:
            passed = min(self._skip, len(data))
            self._skip -= passed
            self._data = data[passed:]
            return b"" if passed and not self._skip else None
        if self._to_newline:
            end = data.find(b"\n")
            self._data = data[end + 1 :] if end >= 0 else b""
            self._to_newline = end < 0
            return None if end < 0 else b""
        counted = _COUNT.match(data)
        if counted is not None:
            return self._counted(int(counted[1]), counted.end())
        if data.isdigit() and len(data) < 10:
            return None  # a length that has not come whole
        end = data.find(b"\n")
        if end < 0 and len(data) <= self._limit:
            return None
        self._to_newline = end < 0
        message, self._data = (data, b"") if end < 0 else (data[:end], data[end + 1 :])
        return message[: self._limit].rstrip(b"\r\0")

    def _counted(self, length: int, begin: int) -> bytes | None:
        there = len(self._data) - begin
        if there < length and there < self._limit:
            return None
        message = self._data[begin : begin + min(length, self._limit)]
        self._skip = max(0, length - there)
        self._data = self._data[begin + length :]
        return message.rstrip(b"\r\n\0")


def word(text: str, limit: int) -> str:
    """Text as a header field may have it: printable ASCII without spaces, `-` for nothing."""
    return _UNPRINTABLE.sub("_", text)[:limit] or "-"


def head(priority: int, when: str, header: str) -> bytes:
    """What a message of RFC 5424 begins with, up to its text.

    Args:
        priority: facility · 8 + severity.
        when: as RFC 3339 writes it.
        header: host, application, process, message id and structured data, each a word.
    """
    return f"<{priority}>1 {when} {header} ".encode()


def framed(heads: Iterable[bytes], texts: Iterable[bytes]) -> bytes:
    """Messages in their frames of RFC 6587, one behind the other: the length in bytes, a space, the message."""
    return b"".join(
        [b"%d %b%b" % (len(head) + len(text), head, text) for head, text in zip(heads, texts, strict=False)]
    )


def parse(line: bytes) -> dict[str, Any] | None:
    """The fields of a message, or None if it does not begin with a priority.

    `facility`, `level`, `message`, and where they are given `time` (as written), `host`, `app`, `process`, `message_id`
    and `data`, the structured data: `{element: {name: value}}`.
    """
    match = _PRIORITY.match(line)
    if match is None or int(match[1]) > 191:
        return None
    facility, level = divmod(int(match[1]), 8)
    record: dict[str, Any] = {"facility": FACILITIES[facility], "level": SEVERITIES[level]}
    text = line[match.end() :].decode("utf-8", "replace")
    header = _HEADER.match(text)
    # What looks new and is not quite is read as the old format, which has no rules to break.
    return _new(record, header, text) or _old(record, text) if header else _old(record, text)


def _new(record: dict[str, Any], header: re.Match[str], text: str) -> dict[str, Any] | None:
    names = ("time", "host", "app", "process", "message_id")
    record = {**record, **{name: value for name, value in zip(names, header.groups(), strict=True) if value != "-"}}
    position = header.end()
    data: dict[str, dict[str, str]] = {}
    if text[position : position + 1] == "-":
        position += 1
    else:
        while element := _ELEMENT.match(text, position):
            pairs = _PARAMETER.findall(element[2])
            data[element[1]] = {name: re.sub(r"\\([\"\\\]])", r"\1", value) for name, value in pairs}
            position = element.end()
        if not data:
            return None
        record["data"] = data
    rest = text[position:]
    if rest and not rest.startswith(" "):
        return None
    record["message"] = rest[1:].removeprefix("\ufeff")
    return record


def _old(record: dict[str, Any], text: str) -> dict[str, Any]:
    """`Nov 23 09:36:16 host app[123]: text`, of which anything may be missing."""
    if time := _OLD_TIME.match(text):
        record["time"] = time[1]
        text = text[time.end() :]
        # Local messages leave the host out; then the tag, with its colon, comes at once.
        if not _OLD_TAG.match(text) and (host := _HOST.match(text)):
            record["host"] = host[1]
            text = text[host.end() :]
    if tag := _OLD_TAG.match(text):
        record["app"] = tag[1]
        if tag[2]:
            record["process"] = tag[2]
        text = text[tag.end() :]
    record["message"] = text
    return record
