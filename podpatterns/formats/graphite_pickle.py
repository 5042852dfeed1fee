"""Graphite's pickles, as Carbon's relays send them: `[(name, (seconds, value)), …]`, read without unpickling.

Unpickling runs what a pickle says, and what others send must not be run. So this is a reader of its own for the few
opcodes that lists, tuples, texts and numbers are made of; any other opcode is refused. Source: Python's pickletools,
graphite.readthedocs.io, "The pickle protocol".
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator
from math import isfinite
from typing import Any

from podpatterns.formats.refusal import Refused, number

_CONSTANTS = frozenset(
    {
        "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
        "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
        "BINBYTES", "SHORT_BINBYTES", "NONE",
    }
)  # fmt: skip
"""Opcodes whose argument is the thing itself."""


def read(data: bytes) -> Iterator[tuple[str, float, float | None] | Refused]:
    """Name, value and seconds of each entry, or why it is none.

    Raises:
        Refused: bad_pickle, and nothing of it can be used.
    """
    entries = _Machine().run(data)
    if not isinstance(entries, list):
        raise Refused("bad_pickle", "it is not a list")
    return map(_entry, entries)


def _entry(entry: Any) -> tuple[str, float, float | None] | Refused:
    # Nothing is shown of an entry but its name: what else is in it may be nested deep, or a number of a million digits.
    name: Any = ""
    try:
        name, (stamp, value) = entry
        name = name.decode() if isinstance(name, bytes) else name
        if not isinstance(name, str):
            return Refused("bad_line")
        seconds = _number(stamp)
        return name, _number(value), None if seconds < 0 else seconds
    except Refused as refused:
        return Refused(refused.reason, name[:80])
    except (TypeError, ValueError, OverflowError):
        return Refused("bad_line", name[:80] if isinstance(name, str) else "")


def _number(value: Any) -> float:
    if isinstance(value, (str, bytes)):
        return number(value.decode() if isinstance(value, bytes) else value)
    if not isinstance(value, (int, float)):
        raise TypeError
    found = float(value)
    if not isfinite(found):
        raise Refused("not_finite")
    return found


class _Machine:
    """Runs the opcodes that are known."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        """What is on the stack at the end. Raises Refused."""
        try:
            for opcode, argument, _ in pickletools.genops(data):
                if opcode.name == "STOP":
                    (result,) = self._stack
                    return result
                self._step(opcode.name, argument)
        except Refused:
            raise
        except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
            raise Refused("bad_pickle", str(error)[:80]) from None
        raise Refused("bad_pickle", "it has no end")

    def _step(self, opcode: str, argument: Any) -> None:
        if opcode in _CONSTANTS:
            self._stack.append(argument)
        elif opcode in _ACTIONS:
            _ACTIONS[opcode](self, argument)
        else:
            raise Refused("bad_pickle", f"the opcode {opcode} is not taken")

    def nothing(self, _argument: Any) -> None:
        """What only tells the version, or the size of what follows."""

    def mark(self, _argument: Any) -> None:
        """Note where something begins."""
        self._marks.append(len(self._stack))

    def push(self, thing: Any) -> None:
        """Something new."""
        self._stack.append(thing)

    def items(self) -> list[Any]:
        """What lies above the last mark, which goes as well."""
        at = self._marks.pop()
        found = self._stack[at:]
        del self._stack[at:]
        return found

    def pop(self, count: int) -> list[Any]:
        """The uppermost things, in their order."""
        at = len(self._stack) - count
        if at < (self._marks[-1] if self._marks else 0):
            raise ValueError("there is nothing on the stack")
        found = self._stack[at:]
        del self._stack[at:]
        return found

    def extend(self, items: list[Any]) -> None:
        """Add to the list that is uppermost."""
        target = self._stack[-1]
        if not isinstance(target, list):
            raise TypeError("only a list can be appended to")
        target.extend(items)

    def remember(self, place: Any) -> None:
        """Note what is uppermost."""
        self._memo[len(self._memo) if place is None else place] = self._stack[-1]

    def recall(self, place: int) -> None:
        """Put what was noted on the stack."""
        self._stack.append(self._memo[place])


_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.nothing,
    "FRAME": _Machine.nothing,
    "MARK": _Machine.mark,
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "LIST": lambda machine, _: machine.push(machine.items()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.items())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.pop(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.pop(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.pop(3))),
    "APPEND": lambda machine, _: machine.extend(machine.pop(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.items()),
    "PUT": _Machine.remember,
    "BINPUT": _Machine.remember,
    "LONG_BINPUT": _Machine.remember,
    "MEMOIZE": _Machine.remember,
    "GET": _Machine.recall,
    "BINGET": _Machine.recall,
    "LONG_BINGET": _Machine.recall,
}
"""What the other opcodes do."""
