"""How bad it is: the words that applications use, as syslog's severities and OpenTelemetry's severity numbers.

Sources: RFC 5424 section 6.2.1, and the mappings in OpenTelemetry's logs data model (appendix B), which also has
bunyan's and pino's numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Severity(NamedTuple):
    """`syslog` counts from 0 (emergency) to 7 (debug), `otlp` from 1 (trace) to 24 (fatal)."""

    syslog: int
    otlp: int


TRACE, DEBUG, INFO = Severity(7, 1), Severity(7, 5), Severity(6, 9)
NOTICE, WARNING, ERROR = Severity(5, 10), Severity(4, 13), Severity(3, 17)
CRITICAL, ALERT, EMERGENCY = Severity(2, 18), Severity(1, 19), Severity(0, 21)

WORDS = {
    TRACE: "trace",
    DEBUG: "debug",
    INFO: "info",
    NOTICE: "notice",
    WARNING: "warning",
    ERROR: "error",
    CRITICAL: "critical",
    ALERT: "alert",
    EMERGENCY: "fatal",
}
"""One word for each. What is worst of all is called fatal, as nearly everybody does who is not a kernel."""

_WORDS = {
    **dict.fromkeys(("trace", "verbose", "finest", "finer", "10"), TRACE),
    **dict.fromkeys(("debug", "dbug", "fine", "d", "20"), DEBUG),
    **dict.fromkeys(("info", "information", "informational", "i", "config", "30"), INFO),
    **dict.fromkeys(("notice",), NOTICE),
    **dict.fromkeys(("warning", "warn", "w", "40"), WARNING),
    **dict.fromkeys(("error", "err", "eror", "e", "severe", "50"), ERROR),
    **dict.fromkeys(("critical", "crit", "c"), CRITICAL),
    **dict.fromkeys(("alert",), ALERT),
    **dict.fromkeys(("fatal", "emergency", "emerg", "panic", "f", "60"), EMERGENCY),
}


def severity(level: Any) -> Severity | None:
    """What a record's level means; None for nothing that is known."""
    return _WORDS.get(str(level).strip().lower()) if isinstance(level, (str, int)) else None
