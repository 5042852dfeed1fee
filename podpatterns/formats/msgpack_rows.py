"""Msgpack values one after the other, as they come from a stream: found without being decoded.

Source: https://github.com/msgpack/msgpack/blob/master/spec.md. Decoding is msgspec's work, which takes one whole value.
"""

from __future__ import annotations

from collections.abc import Iterator
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


class Values:
    """Whole values out of the pieces of a stream. Each byte is looked at once, in however many pieces a value comes."""

    def __init__(self) -> None:
        self._data = b""
        self._begin = 0
        self._at = 0
        """Where the next item begins of the value that is being passed over."""
        self._left = [1]
        """Items that are still to be passed over, for each container that is open."""

    @property
    def pending(self) -> int:
        """Bytes that have come and belong to no whole value yet."""
        return len(self._data) - self._begin

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The values that are whole by now; who does not take all of them gets the others next time.

        Raises:
            ValueError: what stands behind them is no msgpack.
        """
        self._data = self._data[self._begin :] + data
        self._at -= self._begin
        self._begin = 0
        while self._passed():
            begin, self._begin = self._begin, self._at
            yield self._data[begin : self._begin]

    def _passed(self) -> bool:
        """Go on over the items that are there; True at the end of a value."""
        data, size, left, position = self._data, len(self._data), self._left, self._at
        while left and position < size:
            first = data[position]
            end, inside = position + 1, 0
            if first <= 0x7F or first >= 0xE0:
                pass
            elif first <= 0x8F:
                inside = 2 * (first & 0x0F)
            elif first <= 0x9F:
                inside = first & 0x0F
            elif first <= 0xBF:
                end += first & 0x1F
            elif first in _FIXED:
                end += _FIXED[first]
            elif first in _SIZED:
                width, more = _SIZED[first]
                end += width + more + int.from_bytes(data[end : end + width], "big")
            elif first in _CONTAINERS:
                width, each = _CONTAINERS[first]
                inside = each * int.from_bytes(data[end : end + width], "big")
                end += width
            else:
                raise ValueError(f"0x{first:x} is no msgpack")
            if end > size:
                break  # the item has not come whole
            position = end
            left[-1] -= 1
            if inside:
                left.append(inside)
                if len(left) > DEPTH:
                    raise ValueError(f"values are nested more than {DEPTH} deep")
            while left and not left[-1]:
                left.pop()
        self._at = position
        if left:
            return False
        left.append(1)
        return True


def rows(data: bytes) -> list[Any]:
    """The values. Raises ValueError if the last one is not whole, or msgspec.DecodeError."""
    values = Values()
    found = [msgspec.msgpack.decode(each) for each in values.feed(data)]
    if values.pending:
        raise ValueError("the last value is not whole")
    return found
