"""Every error that podpatterns raises on purpose.

A message says what went wrong, where, and what to do about it. Whoever catches `PodpatternsError`
catches them all; anything else that escapes is a bug.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class PodpatternsError(Exception):
    """The root of the family."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a document: where it stands and what to do.

    `line` and `column` count from 1; they are None when the document was built in Python.
    `path` names the place in the document's own terms, such as `sidecar.outputs[0].url`.
    """

    message: str
    path: str = ""
    file: str | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        """Render as `file:line:column: path: message`, leaving out what is not known."""
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigError(PodpatternsError):
    """A configuration or manifest is wrong; `problems` holds every mistake in it, in document order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class StartError(PodpatternsError):
    """A runtime cannot start: a port is in use, a directory is not writable."""


class ServiceError(PodpatternsError):
    """A part that should run until it is stopped has ended by itself."""


class DeliveryError(PodpatternsError):
    """An output could not deliver."""


class Retryable(DeliveryError):  # noqa: N818 - named after what the sender may do
    """The far side is not ready; try again, after `after` seconds if it said so (None: the sender's own back-off)."""

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        self.after = after
        super().__init__(reason)


class Rejected(DeliveryError):  # noqa: N818 - named after what happened to the batch
    """The far side will never accept this; `reason` goes to the dead letters."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class UpstreamError(PodpatternsError):
    """An upstream could not answer; `status` (502, 503, 504) is for the client, `flag` says why in the access log."""

    def __init__(self, status: int, flag: str, message: str) -> None:
        self.status = status
        self.flag = flag
        super().__init__(message)
