"""The log format of the Container Runtime Interface: `time stream P|F text`, as in /var/log/pods.

Source: Kubernetes' design proposal "CRI: container log" and the kubelet's parser (pkg/kubelet/kuberuntime/logs).
A runtime cuts long lines: all parts but the last carry the tag P (partial), the last one F (full).
"""

from __future__ import annotations

import re
from typing import Any

PARTS = (" stdout P", " stderr P")
"""One of these is found in a text that has a part of a line."""
_LINE = re.compile(rb"(\S+) (stdout|stderr) ([PF])(?::\S*)?(?: (.*))?", re.DOTALL)


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
