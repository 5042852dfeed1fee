"""What has happened to the pods, in order: shown to people as it happens, and waited for by tests."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from podpatterns.pod.events import What

OUTPUT_KEPT = 2000
"""Lines of the containers' output that are kept to be looked at; the timeline itself is kept whole."""
_BEGINS = frozenset({What.STARTED, What.RESTARTED, What.FAILED})
_ENDS = frozenset({What.ENDED, What.COMPLETED, What.FAILED})


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. `at` is in seconds since the start; `what` None: a line of the container's output, on `stream`."""

    at: float
    pod: str
    container: str | None
    what: What | None
    detail: str = ""
    code: int | None = None
    stream: str = ""


Listener = Callable[[Entry], None]
Condition = Callable[[Entry], bool]


class Timeline:
    """Collects entries and passes them on."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.output: deque[Entry] = deque(maxlen=OUTPUT_KEPT)
        self.began = time.monotonic()
        self._started: set[tuple[str, str]] = set()
        self._held: dict[tuple[str, str], list[tuple[str, str]]] = {}
        self._listeners: list[Listener] = []
        self._waiting: dict[asyncio.Future[Entry], Condition] = {}

    def listen(self, listener: Listener) -> None:
        """Have every further entry passed to `listener`."""
        self._listeners.append(listener)

    def tell(self, pod: str, container: str | None, what: What, detail: str = "", code: int | None = None) -> None:
        """Something has happened."""
        self._add(Entry(time.monotonic() - self.began, pod, container, what, detail, code), self.entries.append)
        key = (pod, container or "")
        if what in _BEGINS:
            self._started.add(key)
            for stream, text in self._held.pop(key, ()):
                self._line(*key, stream, text)
        if what in _ENDS:
            self._started.discard(key)

    def line(self, pod: str, container: str, stream: str, text: str) -> None:
        """A container has written a line. What it writes before its start has been told is told after that."""
        if (pod, container) in self._started:
            self._line(pod, container, stream, text)
        else:
            self._held.setdefault((pod, container), []).append((stream, text))

    def _line(self, pod: str, container: str, stream: str, text: str) -> None:
        entry = Entry(time.monotonic() - self.began, pod, container, None, text, stream=stream)
        self._add(entry, self.output.append)

    def _add(self, entry: Entry, keep: Listener) -> None:
        keep(entry)
        for listener in self._listeners:
            listener(entry)
        for future, condition in list(self._waiting.items()):
            if not future.done() and condition(entry):
                future.set_result(entry)

    def find(self, condition: Condition) -> Entry | None:
        """The first entry so far that fulfils a condition."""
        return next((entry for entry in [*self.entries, *self.output] if condition(entry)), None)

    async def wait(self, condition: Condition, *, past: bool = True) -> Entry:
        """The first entry that fulfils a condition; with `past`, one that is there already counts."""
        found = self.find(condition) if past else None
        if found is not None:
            return found
        future: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._waiting[future] = condition
        try:
            return await future
        finally:
            del self._waiting[future]
