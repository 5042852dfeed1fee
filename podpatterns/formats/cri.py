"""The log format of the Container Runtime Interface: `time stream P|F text`, as in /var/log/pods.

Source: Kubernetes' design proposal "CRI: container log" and the kubelet's parser (pkg/kubelet/kuberuntime/logs).
A runtime cuts long lines: all parts but the last carry the tag P (partial), the last one F (full).
"""

from __future__ import annotations

import re
from typing import Any

from podpatterns.formats.tables import Row, Rows

_STREAMS = (b" stdout ", b" stderr ")
_NAMES = ("time", "stream", "message")
# In a text of many lines. A time is short: where there are no spaces, nobody looks far for one.
_FULL = re.compile(r"^([^ ]{1,64}) (stdout|stderr) F (.*)$", re.MULTILINE)
_PLAIN = re.compile(r"^([^ ]{1,64}) (stdout|stderr) ([PF])(?: (.*))?$", re.MULTILINE)
_HEADER = re.compile(rb"([^ \n]{1,64}) (?:stdout|stderr) ([PF])(?=[ :\n]|\r\n|\r?\Z)")
_LINE = re.compile(rb"([^ ]{1,64}) (stdout|stderr) ([PF])(?::[^ ]*)?(?: (.*))?", re.DOTALL)


def parse(line: bytes) -> dict[str, Any] | None:
    """`time`, `stream`, `message` and, for a part of a line, `partial: True`; None if it is not CRI."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    time, stream, tag, text = match.groups()
    record: dict[str, Any] = {
        "time": time.decode("utf-8", "replace"),
        "stream": stream.decode(),
        "message": (text or b"").decode("utf-8", "replace"),
    }
    if tag == b"P":
        record["partial"] = True
    return record


def rows(text: str, count: int) -> Rows | None:
    """The same for the `count` lines of a text; None if one of them is not as most are.

    No match is longer than a line where there are as many as there are lines.
    """
    full: list[Row] = _FULL.findall(text)
    if len(full) == count:
        return Rows(_NAMES, full)
    found = _PLAIN.findall(text)
    if len(found) < count:
        return None
    parts: list[Row] = [
        (time, stream, message) if tag == "F" else {"time": time, "stream": stream, "message": message, "partial": True}
        for time, stream, tag, message in found
    ]
    return Rows(_NAMES, parts, mixed=True)


def open_ended(text: bytes) -> bool:
    """Whether the last line of a stream is a part, of which the rest is to come."""
    return any(_last_tag(text, stream) == b"P" for stream in _STREAMS)


def _last_tag(text: bytes, stream: bytes) -> bytes:
    """The tag of the last line of a stream; nothing if there is none. Looks from the end, and seldom far."""
    at = len(text)
    while (at := text.rfind(stream, 0, at)) >= 0:
        start = text.rfind(b"\n", 0, at) + 1
        header = _HEADER.match(text, start)
        if header is not None and header.end(1) == at:
            return header[2]
    return b""
