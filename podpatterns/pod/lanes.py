"""A lane for each container beside the timeline: who runs beside whom, who waits, who has ended. Pure.

0.14s  ○ · ·  migrate   started
1.15s  ✓ · ·  migrate   completed
1.22s    ○ ·  shipper   started          ┃  running and ready    ┊  running, not ready or ending
1.34s    ● ·  shipper   ready            ·  not started yet      …  waits to be started again
1.45s    ┃ ○  app       started             (nothing) ended
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from podpatterns.pod.events import What
from podpatterns.pod.model import PodSpec
from podpatterns.pod.timeline import Entry

WIDEST = 16
"""Containers for which there are lanes; more would leave no room for the text."""

_NOT_STARTED, _WAITS, _RUNS, _READY, _OVER = "·", "…", "┊", "┃", " "

# What happens to a container: the sign at that moment, and its lane from then on (None: as before).
_SIGNS: dict[What, tuple[str, str | None]] = {
    What.STARTED: ("○", _RUNS),
    What.RESTARTED: ("↻", _RUNS),
    What.READY: ("●", _READY),
    What.UNREADY: ("○", _RUNS),
    What.COMPLETED: ("✓", _OVER),
    What.UNHEALTHY: ("!", None),
    What.HOOK_FAILED: ("!", None),
    What.FAILED: ("✗", _OVER),
    What.SIGNALLED: ("↯", None),
    What.STOPPING: ("▽", _RUNS),
    What.KILLED: ("✗", _RUNS),
    What.BACK_OFF: ("…", _WAITS),
}


def bad(entry: Entry) -> bool:
    """An end that nobody has wished for."""
    return entry.what is What.ENDED and entry.code not in (0, 143)


class Lanes:
    """The lanes of some pods, as they stand."""

    def __init__(self, pods: Sequence[PodSpec]) -> None:
        self._pods = [[(spec.name, container.name) for container in spec.containers] for spec in pods]
        self._state = {key: _NOT_STARTED for keys in self._pods for key in keys}
        self.shown = 1 < len(self._state) <= WIDEST

    def head(self) -> Iterator[tuple[list[tuple[str, tuple[str, str] | None]], tuple[str, str]]]:
        """Above the timeline: for each container the pieces of its row with the container each belongs to, and it."""
        keys = list(self._state)
        for number, key in enumerate(keys):
            before: list[tuple[str, tuple[str, str] | None]] = [("│ ", earlier) for earlier in keys[:number]]
            yield [*before, ("╭─", key)], key

    def row(self, entry: Entry) -> list[tuple[str, tuple[str, str]]]:
        """The sign in each lane, with the container it belongs to, when this has happened."""
        key = (entry.pod, entry.container or "")
        if entry.container is None and entry.what in (What.STOPPING, What.FINISHED):
            # From here on, nothing of this pod is started any more.
            idle = [each for each, state in self._state.items() if each[0] == entry.pod and state in "·…"]
            self._state.update(dict.fromkeys(idle, _OVER))
        sign = None
        if key in self._state and entry.what is not None:
            sign, after = (
                ("✗" if bad(entry) else "■", _OVER)
                if entry.what is What.ENDED
                else _SIGNS.get(entry.what, (None, None))
            )
            if after is not None:
                self._state[key] = after
        return [(sign if sign and each == key else state, each) for each, state in self._state.items()]
