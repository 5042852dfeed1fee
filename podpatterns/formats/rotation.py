"""What rotation makes of a log file's name, and what tells a file from another one that has its name or its inode."""

from __future__ import annotations

import re
from hashlib import blake2b

ROTATED = r"[.\-_](?:\d[\dT:.\-_]*|old)"
"""What log rotation appends to a name: `.1`, `-20261123`, `.2026-11-23T10`, `.old`."""

COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip")

PREFIX = 1024
"""Bytes at the start of a file that tell it from others: an inode is used again, and a copy has another one."""


def rotated(name: str) -> re.Pattern[str]:
    """What the names match in full that rotation gives to a file of this name, as long as it is not compressed."""
    return re.compile(re.escape(name) + ROTATED)


def hashed(data: bytes) -> str:
    """A short hash, for what is kept about a file: what is hashed never leaves the pod's logs this way."""
    return blake2b(data, digest_size=8).hexdigest()
