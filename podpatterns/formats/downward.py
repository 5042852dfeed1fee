"""The files of Kubernetes' downward API: labels and annotations, one `key="value"` on each line.

Source: https://kubernetes.io/docs/concepts/workloads/pods/downward-api/ and the kubelet's fieldpath.FormatMap, which
writes values as Go's %q does.
"""

from __future__ import annotations

import re

_LINE = re.compile(r'([^=\s]+)="((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)")
_SIGNS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def parse(text: str) -> dict[str, str]:
    """The pairs, in their order. Lines of another form are passed over: other files of a volume have none."""
    found = (_LINE.fullmatch(line) for line in text.splitlines())
    return {match[1]: _ESCAPE.sub(_plain, match[2]) for match in found if match is not None}


def _plain(match: re.Match[str]) -> str:
    escape = match[1]
    if len(escape) > 1:
        number = int(escape[1:], 16)
        return chr(number) if number < 0x110000 else "\ufffd"
    return _SIGNS.get(escape, escape)
