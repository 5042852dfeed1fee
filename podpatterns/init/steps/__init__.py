"""The slot of init steps: what a step promises, and how it says that it could not keep it.

A step is idempotent: `done` looks at the world and says whether what is wanted holds already; `apply` makes it so.
What others can see is published by a rename, so that whoever dies in the middle leaves either the old or the new.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from podpatterns.errors import PodpatternsError
from podpatterns.init.events import InitEvents
from podpatterns.runtime.backoff import Backoff
from podpatterns.runtime.schema import ComponentConfig, InvalidField


class StepError(PodpatternsError):
    """A step could not do its work; `reason` says why, `remedy` what to do about it (empty where nobody can know)."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        self.reason, self.remedy = reason, remedy
        super().__init__(f"{reason}; {remedy}" if remedy else reason)


class Transient(StepError):  # noqa: N818 - named after what may be done about it
    """It may succeed when tried again; `after` in seconds if the far side said so (None: the step's back-off)."""

    def __init__(self, reason: str, remedy: str = "", *, after: float | None = None) -> None:
        self.after = after
        super().__init__(reason, remedy)


class Fatal(StepError):  # noqa: N818 - named after what it means
    """Trying again cannot help: somebody has to change something first."""


@dataclass(frozen=True, slots=True)
class StepContext:
    """What the pattern gives to a step: the name it goes by, and the pattern's events."""

    name: str
    events: InitEvents


class Step(ABC):
    """One step at work. Both methods may be cancelled at any await and must leave nothing half published."""

    backoff: Backoff = Backoff(first=0.5, cap=15.0)
    """Between two tries; one that only asks whether others are up asks more often."""

    @abstractmethod
    async def done(self) -> bool:
        """Whether what is wanted holds already; cheap, and without side effects."""

    @abstractmethod
    async def apply(self) -> str | None:
        """Make it so, and say in a few words what was done; it holds when this returns.

        None: on a closer look there was nothing to do.

        Raises:
            Transient: it may succeed later; `done` and `apply` are called again within the deadline.
            Fatal: it cannot succeed.
            OSError: judged by its number: no space is transient, no permission is fatal.
        """


class StepConfig(ComponentConfig, frozen=True, kw_only=True):
    """One init step."""

    name: str | None = None
    """What the step is called in logs, errors and the termination message. None: its type, with its number in the list
    where several have the same type."""

    def __post_init__(self) -> None:
        """Refuse names that no metric label or log line should hold."""
        if self.name is not None and not (self.name.strip() and self.name.isprintable() and len(self.name) <= 63):
            raise InvalidField("name", "must be 1 to 63 printable characters")

    def build(self, context: StepContext) -> Step:
        """The step at work."""
        raise NotImplementedError(f"{type(self).__name__} must define build(context)")

    def explain(self) -> list[str]:
        """What it would do, in a line or two for people; nothing is asked, fetched or written."""
        return [(type(self).__doc__ or "").partition("\n")[0].rstrip(".")]
