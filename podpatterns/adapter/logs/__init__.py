"""The logs that the adapter rewrites: where each comes from.

To add one: a file here, or an entry point in the group `podpatterns.adapter.logs`.
"""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, ClassVar, Literal

from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.log_events import LogEvents
from podpatterns.adapter.log_output import LogOutputConfig
from podpatterns.adapter.naming import NamedConfig
from podpatterns.formats.layouts import LAYOUTS
from podpatterns.runtime.regex import check_regex
from podpatterns.runtime.schema import ComponentConfig, InvalidField, Items
from podpatterns.runtime.service import Deadline
from podpatterns.runtime.units import Duration, Size

Format = Literal[
    "text", "json", "logfmt", "regex", "combined", "syslog", "cri", "docker",
    "python", "java", "klog", "nginx", "redis", "postgresql",
]  # fmt: skip
"""How lines are written, by name."""

_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)", re.ASCII)


def zone_of(name: str) -> tzinfo:
    """The zone of a name such as `Europe/Zurich`, or of an offset such as `+02:00`. Raises ValueError."""
    if offset := _OFFSET.fullmatch(name):
        from datetime import timedelta, timezone

        sign, hours, minutes = offset.groups()
        return timezone((1 if sign == "+" else -1) * timedelta(hours=int(hours), minutes=int(minutes)))
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f'"{name}" is not a time zone; write "Europe/Zurich", "UTC" or "+02:00"') from None


@dataclass(frozen=True, slots=True)
class LogContext:
    """What a log is given beside its configuration."""

    name: str
    """What it is called in metrics and events."""
    events: LogEvents
    receiving: AdapterEvents
    """For what is received, as metrics are."""
    now: Callable[[], float] = time.time
    """Seconds since 1970, for lines whose time has no year."""


class Log(ABC):
    """A log that is being rewritten. Started, run, drained and stopped as the adapter's other parts are."""

    name: str = "log"
    ends: bool = False
    """Whether `run` returns once there is nothing more to come."""

    async def start(self) -> None:  # noqa: B027 - what most need not do
        """Open what is needed. Raises StartError."""

    @abstractmethod
    async def run(self) -> None:
        """Read, rewrite and write until cancelled."""

    @abstractmethod
    async def drain(self, deadline: Deadline) -> None:
        """Return when everything that is there by now has been written."""

    async def stop(self) -> None:  # noqa: B027 - what most need not do
        """Close everything."""


class LogConfig(ComponentConfig, NamedConfig, frozen=True, kw_only=True):
    """Base of the logs: how the application writes its lines, and how they are written anew.

    Each record has `time` (RFC 3339, in UTC), `level` (one vocabulary) and `message`, as far as the line has them, and
    then all its other fields as they were.
    """

    ALONE: ClassVar[bool] = False
    """Whether a configuration can have no more than one of the type."""

    format: Format
    """How the lines are written: `json`, `logfmt`, `combined` (access logs), `syslog`, `cri`, `docker`; the usual
    layouts of `python`'s logging, `java` (Spring Boot, Logback, Log4j), `klog`, `nginx`'s error log, `redis` and
    `postgresql`; or `regex` for a pattern of your own. `text` makes a message of each line, as it is."""

    pattern: str | None = None
    """With `format: regex`: an expression that matches the whole line, whose named groups become fields. Call three of
    them `(?P<time>…)`, `(?P<level>…)` and `(?P<message>…)`."""

    then: Format | None = None
    """How the message that `format` finds is written in turn, such as the application's own JSON inside of `syslog`. A
    message that is not written so stays as it is."""

    unparsed: Literal["mark", "join"] = "mark"
    """What becomes of a line that is not written in the format. `mark`: it is a record of its own, with
    `"unparsed": true`. `join`: it belongs to the record before it, as the lines of a stack trace do. Either way it is
    passed on, and counted."""

    traces: Items[Literal["python", "java", "go", "node", "ruby"]] = ()
    """Languages whose stack traces are one record each, where they stand among other lines and `join` would say too
    much."""

    start: str | None = None
    """An expression that is found in the first line of each record, such as `'^\\d{4}-'`; the lines up to the next one
    belong to it. None: see `more`."""

    more: str | None = None
    """An expression that is found in lines which belong to the one before, such as `'^\\s'`."""

    hold: Duration = Duration("500ms")
    """How long the last lines are kept back of which more may come: since the log has last grown. Only with `join`,
    `traces`, `start` or `more`."""

    time: str | None = None
    """The field with the time. None: the first that there is of time, timestamp, ts, @timestamp, datetime, date,
    asctime."""

    time_format: str | None = None
    """How the time is written, as Python's `strptime` takes it: `"%d.%m.%Y %H:%M:%S"`. None: what is usual is known,
    also numbers of seconds, milliseconds, microseconds and nanoseconds."""

    zone: str = "UTC"
    """The zone of times that name none: `Europe/Zurich`, or an offset such as `+02:00`."""

    level: str | None = None
    """The field with the level. None: the first that there is of level, severity, lvl, levelname, log.level,
    loglevel."""

    levels: dict[
        str, Literal["trace", "debug", "info", "notice", "warning", "error", "critical", "alert", "fatal"]
    ] = {}
    """Words of the application's own for levels, and what they mean. What everybody uses is known, also the numbers of
    pino and bunyan."""

    message: str | None = None
    """The field with the message. None: the first that there is of message, msg, text, event."""

    rename: dict[str, str] = {}
    """Other names for other fields, old to new."""

    fields: dict[str, Any] = {}
    """Fixed fields of every record, such as `{service: shop}`; they win over fields of the same name."""

    max_line: Size = Size("64KiB")
    """Bytes of a line that are kept; a longer line is cut, marked with `...[truncated]`, and counted."""

    output: LogOutputConfig = LogOutputConfig()
    """Where records go, and in which form. By default, JSON on standard output."""

    def __post_init__(self) -> None:
        if (self.format == "regex") != (self.pattern is not None):
            if self.pattern is not None:
                raise InvalidField("pattern", f'is for "format: regex", and {self.format} has one of its own')
            raise InvalidField(
                "pattern", "is needed by format: regex; it matches a line, as (?P<level>\\w+) (?P<message>.*)"
            )
        for name in ("pattern", "start", "more"):
            check_regex(getattr(self, name) or "", name)
        if self.pattern is not None and not re.compile(self.pattern).groupindex:
            raise InvalidField("pattern", "has no named group, (?P<name>…), to make a field of")
        if self.traces and (self.start is not None or self.more is not None):
            raise InvalidField("traces", "stands alone: start and more say themselves what belongs together")
        if self.format in ("cri", "docker") and (self.traces or self.start is not None or self.more is not None):
            raise InvalidField(
                "format", f"{self.format} is put together by lines of its own; a sidecar's multiline does more"
            )
        if self.then in ("regex", "text"):
            raise InvalidField("then", f"cannot be {self.then}")
        if self.format == "text" and self.unparsed == "join":
            raise InvalidField(
                "unparsed", "every line is text, so none is left to be joined; use traces, start or more"
            )
        try:
            zone_of(self.zone)
        except ValueError as error:
            raise InvalidField("zone", str(error)) from None
        if not 0 < self.max_line <= 256 * 1024:
            raise InvalidField("max_line", "must lie between 1 and 256KiB")

    def build(self, context: LogContext) -> Log:
        """The log; nothing is opened before its `start`."""
        raise NotImplementedError

    def writes(self) -> Iterator[tuple[str, str]]:
        """Files that nobody else may write, and the fields that name them."""
        if self.output.path is not None:
            yield "output.path", self.output.path

    @property
    def where(self) -> str:
        """Where it comes from, for people."""
        raise NotImplementedError

    @property
    def sample(self) -> str:
        """Some lines in the format, for `explain`."""
        layout = LAYOUTS.get(self.format)
        return "\n".join(layout.samples if layout else SAMPLES.get(self.format, ()))


SAMPLES = {
    "json": ('{"ts": 1795858000.5, "severity": "WARN", "msg": "stock is low", "item": 7}', "not JSON at all"),
    "logfmt": ('ts=2026-11-28T09:36:16Z lvl=eror msg="payment failed" order=7',),
    "combined": ('10.0.0.9 - - [28/Nov/2026:09:36:16 +0000] "GET /products/7 HTTP/1.1" 200 5120 "-" "curl/8.5.0"',),
    "syslog": ("<11>Nov 28 09:36:16 shop-1 shopd[7]: payment failed",),
    "text": ("order 7 placed",),
    "cri": ("2026-11-28T09:36:16.123456789Z stderr F payment failed",),
    "docker": ('{"log":"payment failed\\n","stream":"stderr","time":"2026-11-28T09:36:16.123456789Z"}',),
}
"""Lines of the formats that are nobody's own layout."""
