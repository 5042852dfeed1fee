"""The configuration of the init pattern."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec

from podpatterns.init.steps import StepConfig
from podpatterns.runtime.config import PatternConfig
from podpatterns.runtime.schema import InvalidField, Items, component_type
from podpatterns.runtime.units import Duration

if TYPE_CHECKING:
    from podpatterns.init.runtime import Init
    from podpatterns.runtime.service import Context

SHORTEST = Duration("1s")
"""Between two rounds. What changes more often than that is no file to be fetched."""


class InitConfig(PatternConfig, frozen=True, kw_only=True):
    """Steps that run one after the other, to completion, before the primary container starts."""

    WRITES: ClassVar[frozenset[str]] = frozenset({"error_file"})

    steps: Items[StepConfig]
    """What to do, in this order; a step begins when the one before it is done. At least one."""

    deadline: Duration = Duration("5m")
    """How long all steps may take together, retries included; then the process fails with the reason, and Kubernetes
    starts it again with its own back-off. Half of a Deployment's progressDeadlineSeconds (10 min) by default, so that
    there are two tries before a rollout is called stuck."""

    every: Duration | None = None
    """How often the steps are gone through again, so that what they publish stays up to date: for a native sidecar
    (`restartPolicy: Always`), ready after the first round. A later round that fails is logged, counted and followed by
    the next; what is published stays. None: once, and the container ends."""

    error_file: Annotated[str, msgspec.Meta(pattern="^/.+")] | None = None
    """A file that holds the last failure as JSON (step, reason, remedy, attempts, time) while it lasts, and is removed
    when all steps are done; for others in the pod to look at. None: none; log and termination message say it too."""

    def __post_init__(self) -> None:
        """Check what concerns several fields or steps at once."""
        if not self.steps:
            raise InvalidField("steps", "name at least one step")
        if not self.deadline:
            raise InvalidField("deadline", 'must be longer than "0s"')
        if self.every is not None and self.every < SHORTEST:
            raise InvalidField("every", f"must be at least {SHORTEST}: each round asks what the steps ask")
        doubles = [name for name, count in Counter(self.names).items() if count > 1]
        if doubles:
            raise InvalidField("steps", f'two steps are called "{doubles[0]}"; give each a name of its own')

    @property
    def names(self) -> tuple[str, ...]:
        """What the steps are called, in order: their own names, or `git`, or `git 3` where there are several."""
        types = [component_type(type(step)) for step in self.steps]
        unnamed = Counter(kind for kind, step in zip(types, self.steps, strict=True) if step.name is None)
        return tuple(
            step.name or (kind if unnamed[kind] == 1 else f"{kind} {number}")
            for number, (kind, step) in enumerate(zip(types, self.steps, strict=True), 1)
        )

    @property
    def ends(self) -> bool:
        """Unless the steps are gone through again and again."""
        return self.every is None

    def build(self, context: Context) -> Init:
        """The runtime of these steps; nothing is opened before its `start`."""
        from podpatterns.init.runtime import Init

        return Init(self, context)

    def explain(self, sample: str | None) -> Iterator[str]:
        """What each step would do; a sample, if given, is the text of a template, shown as `render` steps render it."""
        from podpatterns.init.explain import explain

        return explain(self, sample)
