"""What a rule has found, and the rule itself."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podpatterns.runtime.nodes import Mark

if TYPE_CHECKING:
    from podpatterns.pod.workload import Workload

SCHEMA = "schema"
"""The name under which a misfit with Kubernetes' schema is reported."""

CONFIGURATION = "configuration"
"""The name under which a mistake in a configuration of ours is reported."""


class Severity(enum.StrEnum):
    """How bad it is."""

    ERROR = "error"
    """The cluster refuses the manifest, or a container cannot work."""

    WARNING = "warning"
    """It works until something happens: a restart, a rollout, a full disk."""


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the field whose key stands at `mark`, with all that is below it."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class Replace:
    """Write `new` in the place of `old`, which stands at `mark`."""

    mark: Mark
    old: str
    new: str


Edit = Remove | Replace
"""A change of the text that is safe: what worked before works as before."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule yields: where, what is wrong, what to do, and an edit if that can be done safely."""

    mark: Mark
    message: str
    remedy: str
    edit: Edit | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; `reason` says what happens to whoever does not keep to it."""

    name: str
    severity: Severity
    reason: str
    check: Callable[[Workload], Iterator[Found]]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something found in one file."""

    rule: str
    severity: Severity
    mark: Mark
    message: str
    remedy: str
    edit: Edit | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in self.mark if part is not None)
        return f"{place}: {self.severity}: {self.message}; {self.remedy} ({self.rule})"
