"""Whether a file is fresh."""

from __future__ import annotations

import os
import time
from typing import Annotated, ClassVar

import msgspec

from podpatterns.adapter.checks import Check, CheckConfig, CheckContext, Failed
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Duration


class FileConfig(CheckConfig, frozen=True, kw_only=True):
    """Passes if a file was written to not too long ago: a heartbeat that the application touches, a backup, a cache."""

    READS: ClassVar[frozenset[str]] = frozenset({"path"})
    EXAMPLE: ClassVar[str] = "{type: file, path: /var/run/app/heartbeat, max_age: 1m}"

    path: Annotated[str, msgspec.Meta(min_length=1)]
    """The file, or the folder; on a volume that the adapter shares with whoever writes it."""

    max_age: Duration
    """The longest time since it was last written to. A file that is not there fails."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.max_age:
            raise InvalidField("max_age", 'must be longer than "0s"')

    def build(self, context: CheckContext) -> Check:  # noqa: ARG002 - it needs nothing of the adapter
        """The check."""
        return File(self)

    def asks(self) -> str:
        """What is asked."""
        return f"look whether {self.path} was written to in the last {self.max_age}"


class File(Check):
    """Looks at the time of the last change."""

    def __init__(self, config: FileConfig) -> None:
        self._config = config

    async def probe(self) -> None:
        """One `stat`."""
        try:
            age = time.time() - os.stat(self._config.path).st_mtime  # noqa: PTH116 - one system call
        except FileNotFoundError:
            raise Failed("there is no such file") from None
        if age > self._config.max_age:
            raise Failed(f"last written to {age:.0f} s ago, which is longer than {self._config.max_age}")
