"""The access log of Apache httpd and nginx: Common Log Format, and "combined", which adds Referer and User-Agent.

Source: https://httpd.apache.org/docs/2.4/logs.html#accesslog. nginx's `log_format combined` writes the same.
"""

from __future__ import annotations

import re
from typing import Any

from podpatterns.formats.tables import Rows

_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_LINE = re.compile(
    r"([^ ]{1,256}) ([^ ]{1,256}) ([^ ]{1,256}) \[([^]]{1,64})\] "
    + _QUOTED
    + r" ([0-9]{3}) ([0-9]{1,19}|-)(?: "
    + _QUOTED
    + r" "
    + _QUOTED
    + r")?"
)
_NAMES = ("client", "user", "time", "method", "path", "protocol", "status", "bytes", "referer", "agent")
# A line in a text of many, without a backslash, and with a request that is one.
_PLAIN = re.compile(
    r'^([^ ]{1,256}) [^ ]{1,256} ([^ ]{1,256}) \[([^]]{1,64})\] "([^ "]+) ([^ "]+) ([^ "]+)" '
    r'([0-9]{3}) ([0-9]{1,19}|-) "([^"]*)" "([^"]*)"$',
    re.MULTILINE,
)
_REQUEST = re.compile(r"([^ ]+) ([^ ]+)(?: ([^ ]+))?")

_TEXT = r'"(?P<{}>[^"\\]*+(?:\\.[^"\\]*+)*)"'
GROUPS = (
    r'^(?P<client>\S++) \S++ (?P<user>\S++) \[(?P<time>[^\]]++)\] "(?P<method>[A-Z]++) (?P<path>[^ "]++)'
    r'(?: (?P<protocol>[^ "]++))?" (?P<status>[0-9]{3}) (?P<bytes>[0-9]++|-)'
    rf"(?: {_TEXT.format('referer')} {_TEXT.format('agent')})?"
)
"""The same as an expression with named groups, for those who want a few fields of very many lines. It matches requests
that are "method path protocol" alone, and the values are as they were written."""


def parse(line: bytes) -> dict[str, Any] | None:
    """The fields of an access log line, or None if it is not one.

    `client`, `user`, `time` (as written), `method`, `path`, `protocol`, `status`, `bytes`, `referer`, `agent`; a field
    that the server wrote as `-` is None. A request that is not "method path protocol" is kept whole as `request`.
    """
    match = _LINE.fullmatch(line.decode("utf-8", "replace"))
    if match is None:
        return None
    client, _, user, time, request, status, size, referer, agent = match.groups()
    record: dict[str, Any] = {"client": client, "user": _given(user), "time": time}
    if parts := _REQUEST.fullmatch(request):
        record["method"], record["path"], record["protocol"] = parts.groups()
    else:
        record["request"] = request
    record["status"] = int(status)
    record["bytes"] = 0 if size == "-" else int(size)
    if referer is not None:
        record["referer"], record["agent"] = _given(referer), _given(agent)
    return record


def _given(value: str) -> str | None:
    return None if value == "-" else value


def rows(text: str, count: int) -> Rows | None:
    """The same for the `count` lines of a text; None if one of them is not quite as most are.

    No match is longer than a line where there are as many as there are lines.
    """
    found = _PLAIN.findall(text) if "\\" not in text else []
    if len(found) < count:
        return None
    client, user, time, method, path, protocol, status, size, referer, agent = zip(*found, strict=True)
    columns = (
        client,
        [None if each == "-" else each for each in user],
        time,
        method,
        path,
        protocol,
        map(int, status),
        [0 if each == "-" else int(each) for each in size],
        [None if each == "-" else each for each in referer],
        [None if each == "-" else each for each in agent],
    )
    return Rows(_NAMES, list(zip(*columns, strict=True)))
