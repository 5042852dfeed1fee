"""Records of a batch that nobody has looked into yet: parsed, but not a dictionary each.

A parser whose fields go straight on to an output makes one of these. It is encoded without its fields having been
touched, at a fraction of what dictionaries cost; whoever asks for records gets them, and then there is no table any
more. Both ways lead to the same records.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import compress, starmap
from typing import Any, Self

import msgspec

from podpatterns.formats import jsonlines

Row = tuple[Any, ...] | dict[str, Any]
_encode = msgspec.json.encode
MARK = msgspec.Raw(jsonlines.SEPARATOR)
"""Stands where something is to be put into every record."""


class Table(ABC):
    """Some records, all of which have been parsed."""

    @abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """A dictionary for each."""

    @abstractmethod
    def encode(self, added: Mapping[str, Any]) -> bytes:
        """All as NDJSON, with these fields in each, which win over others of their name."""

    @abstractmethod
    def keep(self, wanted: Sequence[bool]) -> Self:
        """Those with True at their place."""


class Rows(Table):
    """Records that have the same fields, a tuple of values each beside their `names`.

    If they are `mixed`, some of them have other fields, and are dictionaries.
    """

    __slots__ = ("mixed", "names", "rows")

    def __init__(self, names: tuple[str, ...], rows: list[Row], *, mixed: bool = False) -> None:
        self.names, self.rows, self.mixed = names, rows, mixed

    def record(self, row: Row) -> dict[str, Any]:
        """One as a dictionary."""
        return row if isinstance(row, dict) else dict(zip(self.names, row, strict=True))

    def records(self) -> list[dict[str, Any]]:
        """A dictionary for each."""
        return list(map(self.record, self.rows))

    def encode(self, added: Mapping[str, Any]) -> bytes:
        """Each row becomes a struct, which knows its keys; one more holds a mark, which all that is added replaces."""
        first = next(iter(added), None)
        struct = _struct(self.names, first) if added.keys().isdisjoint(self.names) else None
        if struct is None:
            return self._encoded(added)
        rows: Any = self.rows
        if self.mixed:
            mark = {} if first is None else {first: MARK}
            items = [{**row, **mark} if isinstance(row, dict) else struct(*row) for row in rows]
            if not all(added.keys().isdisjoint(row) for row in rows if isinstance(row, dict)):
                return self._encoded(added)
        else:
            items = list(starmap(struct, rows))
        ndjson = jsonlines.from_records(items)
        if first is None:
            return ndjson
        # `,"pod":"shop-1","node":"n"}` without what has been written: the comma, `"pod":` and the brace.
        more = jsonlines.ending(added)[len(_encode(first)) + 2 : -1]
        return replaced if (replaced := jsonlines.fill(ndjson, len(items), more)) is not None else self._encoded(added)

    def _encoded(self, added: Mapping[str, Any]) -> bytes:
        """The way that always works."""
        return jsonlines.from_records([{**record, **added} for record in self.records()])

    def keep(self, wanted: Sequence[bool]) -> Self:
        """Those with True at their place."""
        return type(self)(self.names, list(compress(self.rows, wanted)), mixed=self.mixed)


class Asked:
    """The names that were added to the last batch, and so probably will be to the next one."""

    __slots__ = ("names",)

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()


class Objects(Table):
    """Records that are JSON objects as somebody has written them; `bodies` are what stands between their braces.

    `having` are the places of those that have one of the `asked` names, if somebody has looked.
    """

    __slots__ = ("_asked", "_having", "_names", "bodies")

    def __init__(self, bodies: list[bytes], asked: Asked | None = None, having: list[int] | None = None) -> None:
        self.bodies = bodies
        self._asked = asked or Asked()
        self._names, self._having = self._asked.names, having

    @property
    def text(self) -> bytes:
        """An object on each line."""
        return b"{%b}" % b"}\n{".join(self.bodies) if self.bodies else b""

    def records(self) -> list[dict[str, Any]]:
        """A dictionary for each."""
        return jsonlines.to_records(self.text)

    def encode(self, added: Mapping[str, Any]) -> bytes:
        """The bodies are joined by what is added. Fields that it wins over are taken out of their bodies before."""
        bodies = self.bodies
        if not bodies:
            return b""
        self._asked.names = names = tuple(added)
        clashes = self._having
        if clashes is None or names != self._names:
            clashes = jsonlines.having(self.text, names)
        bodies = bodies.copy()
        for place in clashes:
            bodies[place] = jsonlines.without(b"{%b}" % bodies[place], added)
        end = jsonlines.ending(added)
        if added and not all(map(bytes.strip, bodies)):  # nothing in an object: no comma
            return b"".join([b"{%b%b\n" % (body, end if body.strip() else end[1:]) for body in bodies])
        bodies[0] = b"{" + bodies[0]
        bodies[-1] += end + b"\n"
        return (end + b"\n{").join(bodies)

    def keep(self, wanted: Sequence[bool]) -> Self:
        """Those with True at their place."""
        return type(self)(list(compress(self.bodies, wanted)))


@lru_cache(64)
def _struct(names: tuple[str, ...], marked: str | None) -> Any:
    """A struct that is written with these keys, and with a mark at one more; None if there can be none."""
    written = names if marked is None else (*names, marked)
    if any(b"\\" in _encode(name) for name in written):
        return None
    fields: list[Any] = [f"field{number}" for number in range(len(written))]
    rename = dict(zip(fields, written, strict=True))
    if marked is not None:
        fields[-1] = (fields[-1], msgspec.Raw, MARK)
    return msgspec.defstruct("Row", fields, rename=rename, gc=False)
