"""The formats of log lines by their names, for whoever lets a configuration choose one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from podpatterns.formats import combined, cri, docker, jsonlines, logfmt, syslog
from podpatterns.formats.tables import Table

Parser = Callable[[bytes], dict[str, Any] | None]
"""The fields of a line, or None where it is not written that way."""

WholeParser = Callable[[str, int], Table | None]
"""The records of so many lines of a text, or None where one of them has to be looked at alone."""

PARSERS: Mapping[str, Parser] = {
    "json": jsonlines.parse,
    "logfmt": logfmt.parse,
    "combined": combined.parse,
    "cri": cri.parse,
    "docker": docker.parse,
    "syslog": syslog.parse,
}

TABLES: Mapping[str, WholeParser] = {
    "combined": combined.rows,
    "cri": cri.rows,
}
"""Those that know a faster way for many lines."""
