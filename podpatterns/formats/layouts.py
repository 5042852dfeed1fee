"""How common programs and logging libraries lay out a line by default: time, level, logger, message.

Each is a table entry: patterns, tried in this order, and lines of each kind as the programs write them. Every
pattern is anchored by `fullmatch`, and has nothing that could be matched in two ways at length.

Sources: Python's logging (BASIC_FORMAT and the cookbook's format), Spring Boot's and Logback's default patterns,
Log4j 2's `%d [%t] %-5p %c - %m`, Kubernetes' klog, nginx's ngx_log_error, Redis' serverLogRaw, PostgreSQL's
log_line_prefix `%m [%p] ` (Debian's adds `%q%u@%d `).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from podpatterns.formats.parsers import Parser

_DATE = r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d"
_MOMENT = rf"(?P<time>{_DATE}(?:[.,]\d{{1,9}})?(?:Z|[+-]\d\d:?\d\d)?)"
_LEVEL = r"(?P<level>TRACE|DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL|FATAL|NOTSET|OFF)"


WholeLines = Callable[[Sequence[bytes]], "tuple[tuple[str, ...], list[tuple[Any, ...]]] | None"]
"""Names and columns of lines that are alike; None if they are not."""


class Layout(NamedTuple):
    """`levels` are words and signs that only this program uses."""

    patterns: tuple[str, ...]
    samples: tuple[str, ...]
    levels: Mapping[str, str] = {}


LAYOUTS: Mapping[str, Layout] = {
    "python": Layout(
        (
            rf"{_MOMENT} - (?P<logger>[^\s:]+) - {_LEVEL} - (?P<message>.*)",
            rf"{_MOMENT}:? +\[?{_LEVEL}\]?:? +\[(?P<logger>[\w.]+)\]:? +(?P<message>.*)",
            rf"{_MOMENT}:? +\[?{_LEVEL}\]?:? +(?:(?P<logger>[\w.]+)(?::| -) )?(?P<message>.*)",
            rf"{_LEVEL}:(?P<logger>[^\s:]+):(?P<message>.*)",
        ),
        (
            "2026-11-28 09:36:16,123 - shop.orders - INFO - order 7 placed",
            "2026-11-28 09:36:16,123 WARNING shop.orders: stock is low",
            "2026-11-28 09:36:16,123 DEBUG [shop.stock] looking",
            "2026-11-28 09:36:16 [ERROR] payment failed",
            "INFO:shop.orders:order 7 placed",
        ),
    ),
    "java": Layout(
        (
            (
                rf"{_MOMENT} +{_LEVEL} +(?P<pid>\d+) --- (?:\[ *(?P<application>[^\]\[]*)\] )?"
                r"\[ *(?P<thread>[^\]\[]*)\](?: \[[^\]\[]*\])? (?P<logger>\S+) *: (?P<message>.*)"
            ),
            rf"{_MOMENT} +\[(?P<thread>[^\]\[]*)\] +{_LEVEL} +(?P<logger>\S+) --? (?P<message>.*)",
            rf"{_MOMENT} +{_LEVEL} +\[(?P<thread>[^\]\[]*)\] +(?P<logger>\S+) --? (?P<message>.*)",
        ),
        (
            "2026-11-28T09:36:16.123+01:00  INFO 7 --- [shop] [nio-8080-exec-1] c.e.shop.Orders : order 7 placed",
            "2026-11-28 09:36:16.123  WARN 7 --- [           main] c.e.shop.Stock              : stock is low",
            "2026-11-28 09:36:16,123 [main] ERROR com.example.shop.Payment - payment failed",
            "2026-11-28 09:36:16.123 DEBUG [worker-1] com.example.shop.Stock - looking",
        ),
        {"OFF": "info"},
    ),
    "klog": Layout(
        (
            (
                r"(?P<level>[IWEF])(?P<time>\d{4} \d\d:\d\d:\d\d\.\d{1,9}) +(?P<thread>\d+) (?P<source>[^\s\]]+:\d+)\] "
                r"(?P<message>.*)"
            ),
        ),
        (
            "I1128 09:36:16.123456       1 server.go:184] Starting",
            'E1128 09:36:16.123456 7 sync.go:42] "Failed" err="no"',
        ),
    ),
    "nginx": Layout(
        (
            (
                r"(?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[(?P<level>\w+)\] (?P<pid>\d+)#(?P<thread>\d+): "
                r"(?:\*(?P<connection>\d+) )?(?P<message>.*)"
            ),
        ),
        (
            '2026/11/28 09:36:16 [error] 29#29: *7 open() "/srv/x" failed (2: No such file), client: 10.0.0.9',
            "2026/11/28 09:36:16 [notice] 1#1: start worker processes",
        ),
    ),
    "redis": Layout(
        (
            (
                r"(?P<pid>\d+):(?P<role>[XCSM]) (?P<time>\d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d\.\d{3}) "
                r"(?P<level>[.\-*#]) "
                r"(?P<message>.*)"
            ),
        ),
        (
            "1:M 28 Nov 2026 09:36:16.123 * Ready to accept connections tcp",
            "1:C 28 Nov 2026 09:36:16.123 # Warning: no config file specified",
        ),
        {".": "debug", "-": "debug", "*": "notice", "#": "warning"},
    ),
    "postgresql": Layout(
        (
            (
                rf"(?P<time>{_DATE}(?:\.\d{{1,6}})?(?: (?:UTC|GMT))?)(?: [A-Z]{{2,5}})? \[(?P<pid>\d+)\]"
                r"(?: (?P<user>[^@\s]*)@(?P<database>\S*))? +(?P<level>[A-Z]+[1-5]?): +(?P<message>.*)"
            ),
        ),
        (
            "2026-11-28 09:36:16.123 UTC [41] LOG:  database system is ready to accept connections",
            '2026-11-28 09:36:16.123 CET [52] shop@orders ERROR:  relation "order" does not exist at character 15',
            "2026-11-28 09:36:16.123 CET [52] shop@orders STATEMENT:  SELECT * FROM order",
        ),
        {
            **dict.fromkeys(("LOG", "STATEMENT", "DETAIL", "HINT", "CONTEXT", "QUERY", "LOCATION"), "info"),
            **{f"DEBUG{number}": "debug" for number in range(1, 6)},
        },
    ),
}


def parser(*patterns: str) -> Parser:
    """Reads lines by the first of some patterns that matches the whole line; groups that are empty-handed are left out.

    Raises:
        re.error: one is no regular expression.
    """
    matches = [re.compile(pattern).fullmatch for pattern in patterns]

    def parse(line: bytes) -> dict[str, Any] | None:
        text = line.decode()
        for match in matches:
            found = match(text)
            if found is not None:
                fields = found.groupdict()
                return (
                    {name: value for name, value in fields.items() if value is not None}
                    if None in fields.values()
                    else fields
                )
        return None

    return parse


def rows_of(*patterns: str) -> WholeLines:
    """The same for many lines that one pattern matches with every group: what `parser` would give, by columns."""
    compiled = [re.compile(pattern) for pattern in patterns]

    def rows(lines: Sequence[bytes]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]] | None:
        texts = b"\n".join(lines).decode().split("\n")
        at = next((at for at, pattern in enumerate(compiled) if pattern.fullmatch(texts[0])), 0)
        pattern = compiled[at]
        if not at and len(compiled) > 1 and pattern.fullmatch(texts[0]) is None:
            return None
        matches = list(map(pattern.fullmatch, texts))
        names = tuple(pattern.groupindex)
        if None in matches or len(texts) != len(lines):
            return None
        groups = operator.methodcaller("group", *names)
        found = list(map(groups, matches)) if len(names) > 1 else [(each[1],) for each in matches if each is not None]
        columns = list(zip(*found, strict=True))
        # A line that an earlier pattern matches would be read by that one.
        earlier = compiled[:at]
        if any(None in column for column in columns) or any(each.fullmatch(text) for each in earlier for text in texts):
            return None
        return names, columns

    return rows
