"""What comes from files that are replaced while we run: certificates, tokens, passwords. The last good one stays.

A Secret volume changes by a rename of its `..data` link, so files are looked at by their paths (see `runtime.watch`).
Several files of one Secret change together; elsewhere a certificate may be there before its key: what cannot be loaded
is tried again at each look, and said once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from podpatterns.errors import StartError
from podpatterns.runtime.watch import Fingerprint, fingerprint

if TYPE_CHECKING:
    from podpatterns.ambassador.events import AmbassadorEvents

T = TypeVar("T")

LOOK = 2.0
"""Seconds between two looks, each one `stat` per file. The kubelet itself takes up to a minute to bring a change."""


class Unusable(Exception):  # noqa: N818 - says what the content is
    """What a file holds is of no use; the message names the file and what to do, and holds nothing of its content."""


class Rotation(Generic[T]):
    """The last good content of some files.

    `load` reads them; it may block for a moment, and raises Unusable or OSError. `what` and `version` name it in
    events: the `credentials` of the upstream `stable`.
    """

    def __init__(
        self, paths: Sequence[str], load: Callable[[], T], *, what: str, version: str, events: AmbassadorEvents
    ) -> None:
        self.paths = tuple(paths)
        self.what = what
        self.version = version
        self._load = load
        self._events = events
        self._seen = [fingerprint(path) for path in self.paths]
        self._said = ""
        """What was the matter at the last look; said once, and not at each."""
        try:
            self.current = load()
        except (OSError, Unusable) as error:
            raise StartError(f"upstream {version}: {said(error)}") from None

    def look(self) -> bool:
        """True if there is something new, which is `current` now."""
        now = self._changed()
        return now is not None and self._take(now, self._loaded())

    async def renewed(self) -> bool:
        """The same, with the reading done in a thread: certificates may be many."""
        now = self._changed()
        return now is not None and self._take(now, await asyncio.to_thread(self._loaded))

    def _changed(self) -> list[Fingerprint] | None:
        """The files as they are now, if there is anything to load."""
        now = [fingerprint(path) for path in self.paths]
        missing = [path for path, found in zip(self.paths, now, strict=True) if found is None]
        if missing:
            # In the middle of a swap, or gone for good: either way what was loaded serves on.
            self._keep("missing", f"{' and '.join(missing)} cannot be found")
            return None
        return None if now == self._seen and not self._said else now

    def _loaded(self) -> T | Exception:
        try:
            return self._load()
        except (OSError, Unusable) as error:
            return error

    def _take(self, now: list[Fingerprint], new: T | Exception) -> bool:
        self._seen = now
        if isinstance(new, Exception):
            self._keep("refused", said(new))
            return False
        self._said = ""
        if new == self.current:
            return False
        self.current = new
        self._events.rotated(self.version, self.what)
        return True

    def _keep(self, outcome: str, why: str) -> None:
        if why != self._said:
            self._said = why
            self._events.rotation_failed(self.version, self.what, outcome, why)


def said(error: Exception) -> str:
    """An error of `load` in words: the file and the reason."""
    if isinstance(error, OSError):
        reason = (error.strerror or type(error).__name__).lower()
        return f"{error.filename or 'a file'} cannot be read: {reason}"
    return str(error)


def content_of(path: str, largest: int = 1 << 20) -> bytes:
    """What a file holds. Raises Unusable, OSError."""
    with Path(path).open("rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise Unusable(f"{path} has more than {largest} bytes")
    return content
