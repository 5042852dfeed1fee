"""Msgpack values one after the other, as they come from a stream: where each ends.

Source: https://github.com/msgpack/msgpack/blob/master/spec.md. Decoding is msgspec's work, which takes one whole value.
"""

from __future__ import annotations

from typing import Any

import msgspec

DEPTH = 64
"""Values in values that are followed; deeper ones are refused."""

_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4,
          0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}  # fmt: skip
"""Bytes behind the first one, by the first one."""
_SIZED = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1), 0xD9: (1, 0),
          0xDA: (2, 0), 0xDB: (4, 0)}  # fmt: skip
"""Bytes of the length, and bytes that it does not count."""
_CONTAINERS = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""Bytes of the count, and values for each item."""


def ends(data: bytes) -> list[int]:
    """Where the whole values in `data` end; what is behind the last one has not come whole. Raises ValueError."""
    found: list[int] = []
    position = 0
    while position < len(data):
        end = _end(data, position)
        if end is None:
            break
        found.append(end)
        position = end
    return found


def rows(data: bytes) -> list[Any]:
    """The values. Raises ValueError if the last one is not whole, or msgspec.DecodeError."""
    found = ends(data)
    if (found[-1] if found else 0) != len(data):
        raise ValueError("the last value is not whole")
    return [msgspec.msgpack.decode(data[begin:end]) for begin, end in zip([0, *found], found, strict=False)]


def _end(data: bytes, position: int) -> int | None:
    left = [1]
    """Values that are still to be passed over, for each container that is open."""
    size = len(data)
    while left:
        if position >= size:
            return None
        left[-1] -= 1
        first = data[position]
        position += 1
        inside = 0
        if first <= 0x7F or first >= 0xE0:
            pass
        elif first <= 0x8F:
            inside = 2 * (first & 0x0F)
        elif first <= 0x9F:
            inside = first & 0x0F
        elif first <= 0xBF:
            position += first & 0x1F
        elif first in _FIXED:
            position += _FIXED[first]
        elif first in _SIZED:
            width, more = _SIZED[first]
            position += width + more + int.from_bytes(data[position : position + width], "big")
        elif first in _CONTAINERS:
            width, each = _CONTAINERS[first]
            inside = each * int.from_bytes(data[position : position + width], "big")
            position += width
        else:
            raise ValueError(f"0x{first:x} is no msgpack")
        if position > size:
            return None
        if inside:
            left.append(inside)
            if len(left) > DEPTH:
                raise ValueError(f"values are nested more than {DEPTH} deep")
        while left and not left[-1]:
            left.pop()
    return position
