"""Bounds on what a peer may make us hold."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from podpatterns.ambassador.http1.grammar import usual_request, usual_response


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one message's head, and of its trailers."""

    head: int = 64 * 1024
    """Bytes of a head, first line and closing empty line included."""

    fields: int = 100
    """Fields of a head."""

    chunk_line: int = 256
    """Bytes of a chunk's first line: 15 digits, and some room for extensions, which nobody uses."""

    extensions: int = 4096
    """Bytes of chunk extensions in one body: they are dropped, so they must not cost more than the data."""

    trailers: int = 8 * 1024
    """Bytes of a trailer section."""

    usual_request: re.Pattern[bytes] = field(init=False, repr=False, compare=False)
    usual_response: re.Pattern[bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "usual_request", usual_request(self.fields))
        object.__setattr__(self, "usual_response", usual_response(self.fields))
