"""The last failure as a file, for others in the pod to look at; gone when all is well."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from podpatterns.init import publish
from podpatterns.init.events import InitEvents
from podpatterns.init.plan import Progress


class ErrorFile:
    """`path` None: there is none."""

    def __init__(self, path: str | None, events: InitEvents) -> None:
        self._path = Path(path) if path is not None else None
        self._events = events

    def write(self, step: Progress, *, retried: bool) -> None:
        """Say how a step has failed, and whether it will be tried again."""
        if self._path is None:
            return
        said = {
            "step": step.name,
            "reason": step.note,
            "remedy": step.remedy,
            "attempts": step.attempts,
            "retried": retried,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        try:
            publish.write(self._path, msgspec.json.encode(said) + b"\n", 0o644)
        except OSError as error:
            self._events.error_file_failed(str(self._path), error)

    def clear(self) -> None:
        """All is well."""
        if self._path is None:
            return
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            self._events.error_file_failed(str(self._path), error)
