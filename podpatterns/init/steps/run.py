"""`type: run`: a command that has to succeed once, such as a database migration."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec

from podpatterns.init import publish
from podpatterns.init.steps import Fatal, Step, StepConfig, StepContext, Transient
from podpatterns.runtime.command import NotRunnable, Outcome, TimedOut, execute
from podpatterns.runtime.schema import InvalidField, Items
from podpatterns.runtime.units import Duration, SecretFile


class RunConfig(StepConfig, frozen=True, kw_only=True):
    """Run a command until it succeeds, and with a stamp, not again until its inputs change."""

    EXAMPLE: ClassVar[str] = """
type: run
command: [/app/migrate, --to, latest]
stamp: /data/.migrated
inputs: [/app/migrations.sql]
"""

    command: Items[str]
    """The program and its arguments; not run in a shell: `[sh, -c, "…"]` is one. Secrets do not belong in arguments."""

    stamp: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """A file that remembers success, on a volume that lives as long as what the command has changed. It holds a hash of
    command, environment and inputs: while that is the same, the command is not run again. Those who share the file
    take turns, so of several pods one runs the command. None: it is run at each start."""

    inputs: Items[str] = ()
    """Files whose content belongs to the hash of the stamp, such as the migrations themselves; folders count with all
    that is in them."""

    env: dict[str, str] = {}
    """Environment variables, in addition to the process's own."""

    secrets: dict[str, SecretFile] = {}
    """Environment variables whose value is a file's content, read anew for each try. They do not count for the stamp,
    so a rotated password does not run a migration again."""

    directory: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """Where the command runs. None: where this process runs."""

    fatal: Items[Annotated[int, msgspec.Meta(ge=1, le=255)]] = (2, 64, 77, 78, 126, 127)
    """Exit codes after which trying again cannot help. By default: wrong usage (2, and 64 as in sysexits.h), no
    permission (77), wrong configuration (78), not executable (126) and not found (127)."""

    timeout: Duration | None = None
    """How long one try may take before it is ended and tried again. None: as long as `init.deadline` leaves, since a
    migration that is killed may leave more damage than one that is slow."""

    def __post_init__(self) -> None:
        """Check what concerns several fields at once."""
        super().__post_init__()
        if not self.command or not self.command[0]:
            raise InvalidField("command", "name a program")
        if self.inputs and self.stamp is None:
            raise InvalidField("inputs", "count for a `stamp` only; name one")

    def build(self, context: StepContext) -> Run:
        """The step at work."""
        return Run(self, context)

    def explain(self) -> list[str]:
        """What would be run, and when not."""
        when = f", unless {self.stamp} says that it was" if self.stamp else ""
        return [f"run {self.command[0]} with {len(self.command) - 1} arguments{when}"]


class Run(Step):
    """The step at work."""

    def __init__(self, config: RunConfig, context: StepContext) -> None:
        self.config, self._context = config, context
        self._stamp = Path(config.stamp) if config.stamp is not None else None

    async def done(self) -> bool:
        """Whether the stamp bears the hash of what would be run."""
        return self._stamp is not None and await asyncio.to_thread(self._stamped)

    async def apply(self) -> str:
        """Run the command, and stamp its success."""
        if self._stamp is None:
            return await self._run(())
        with _locked(self._stamp) as lock:
            if await asyncio.to_thread(self._stamped):
                return "was done by another while this one waited for its turn"
            # What counts is what the command was started with, should an input change while it runs.
            key = await asyncio.to_thread(self._key)
            did = await self._run((lock,))
            publish.write(self._stamp, f"{key}\n".encode(), 0o644)
            return did

    async def _run(self, pass_fds: tuple[int, ...]) -> str:
        secrets = {name: file.read() for name, file in self.config.secrets.items()}
        try:
            outcome = await execute(
                self.config.command,
                env={**os.environ, **self.config.env, **secrets},
                cwd=self.config.directory,
                limit=self.config.timeout,
                pass_fds=pass_fds,
            )
        except NotRunnable as error:
            raise Fatal(str(error), "name a program that the image holds") from None
        except TimedOut as error:
            raise Transient(str(error), "raise `timeout` if it needs longer") from None
        if outcome.code == 0:
            return f"ran {Path(self.config.command[0]).name}"
        kind = Fatal if outcome.code in self.config.fatal else Transient
        raise kind(f"{self.config.command[0]}: {outcome.ending}: {_without(secrets.values(), outcome)}")

    def _stamped(self) -> bool:
        assert self._stamp is not None
        try:
            return self._stamp.read_text("ascii", "replace").strip() == self._key()
        except FileNotFoundError:
            return False

    def _key(self) -> str:
        """A hash of everything that makes this run what it is; lengths keep neighbours apart."""
        digest = hashlib.sha256()
        parts = [*self.config.command, self.config.directory or ""]
        parts += [f"{name}={value}" for name, value in sorted(self.config.env.items())]
        for part in parts:
            digest.update(b"%d:%s" % (len(part.encode()), part.encode()))
        for path in _files(self.config.inputs):
            digest.update(b"%d:%s" % (len(os.fsencode(path)), os.fsencode(path)))
            digest.update(_digest(path))
        return digest.hexdigest()


def _files(inputs: Iterable[str]) -> Iterator[Path]:
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            yield from sorted(found for found in path.rglob("*") if found.is_file())
        else:
            yield path


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


@contextmanager
def _locked(stamp: Path) -> Iterator[int]:
    """The right to run, one at a time; the command inherits it, so one that has outlived its parent still has it."""
    stamp.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(stamp.with_name(f"{stamp.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Transient(f"{stamp} is in use: another is running the command", after=0.2) from None
        yield lock
    finally:
        os.close(lock)


def _without(secrets: Iterable[str], outcome: Outcome) -> str:
    """The last line of the output, without any secret in it."""
    line = outcome.last_line
    for secret in secrets:
        if secret:
            line = line.replace(secret, "***")
    return line
