"""Bounds on what a peer may make us hold."""

from __future__ import annotations

from dataclasses import dataclass


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
