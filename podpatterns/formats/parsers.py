"""The formats of log lines by their names, for whoever lets a configuration choose one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from podpatterns.formats import combined, cri, docker, jsonlines, logfmt, syslog

Parser = Callable[[bytes], dict[str, Any] | None]
"""The fields of a line, or None where it is not written that way."""

PARSERS: Mapping[str, Parser] = {
    "json": jsonlines.parse,
    "logfmt": logfmt.parse,
    "combined": combined.parse,
    "cri": cri.parse,
    "docker": docker.parse,
    "syslog": syslog.parse,
}
