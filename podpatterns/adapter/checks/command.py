"""Whether a program says so."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from podpatterns.adapter.checks import Check, CheckConfig, CheckContext, Failed
from podpatterns.runtime.command import NotRunnable, execute
from podpatterns.runtime.schema import Items


class CommandConfig(CheckConfig, frozen=True, kw_only=True):
    """Passes if a program ends with exit code 0.

    It runs in a process group of its own. When its time is over, the whole group is ended: by SIGTERM, and two seconds
    later by SIGKILL.
    """

    EXAMPLE: ClassVar[str] = "{type: command, command: [pgrep, --exact, shopd], timeout: 2s}"

    command: Annotated[Items[str], msgspec.Meta(min_length=1)]
    """The program and its arguments; not run in a shell. It must be in the adapter's image, and sees the processes of
    other containers only if the pod has `shareProcessNamespace: true`."""

    show_output: bool = False
    """Whether the last line that it writes stands in the reason of a failure. Off, because whoever reaches the endpoint
    reads it, and nobody can know what a program writes."""

    def build(self, context: CheckContext) -> Check:  # noqa: ARG002 - it needs nothing of the adapter
        """The check."""
        return Command(self)

    def asks(self) -> str:
        """What is asked; arguments may hold secrets and are not shown."""
        return f"run {self.command[0]}"


class Command(Check):
    """Runs the program anew each time."""

    def __init__(self, config: CommandConfig) -> None:
        self._config = config

    async def probe(self) -> None:
        """Run it."""
        try:
            outcome = await execute(self._config.command)
        except NotRunnable as error:
            raise Failed(str(error)) from None
        if outcome.code:
            raise Failed(f"{outcome.ending}: {outcome.last_line}" if self._config.show_output else outcome.ending)
