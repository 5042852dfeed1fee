"""`type: permissions`: the owner and the permission bits of what is on a volume."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec

from podpatterns.init.steps import Fatal, Step, StepConfig, StepContext
from podpatterns.runtime.schema import InvalidField, Items

Mode = Annotated[str, msgspec.Meta(pattern="^0?[0-7]{3,4}$")]
Id = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 2)]


class PermissionsConfig(StepConfig, frozen=True, kw_only=True):
    """Set owner, group and permission bits of files and folders; symlinks are not followed."""

    WRITES: ClassVar[frozenset[str]] = frozenset({"paths"})
    EXAMPLE: ClassVar[str] = """
type: permissions
paths: [/data]
owner: 10001
directories: "0750"
files: "0640"
"""

    paths: Items[str]
    """What to set them on; at least one."""

    owner: Id | None = None
    """The numeric user; None: as it is. To give files away needs root or the capability CHOWN, so where the pod's
    securityContext can do it (`fsGroup`), let it."""

    group: Id | None = None
    """The numeric group; None: as it is. A user may choose among the groups that it belongs to."""

    directories: Mode | None = None
    """The permission bits of folders, in octal; None: as they are."""

    files: Mode | None = None
    """The permission bits of files, in octal; None: as they are."""

    recursive: bool = True
    """Whether what is inside of folders is set too."""

    create: bool = False
    """Whether a path that is missing is made, as a folder. False: it is an error."""

    def __post_init__(self) -> None:
        """Something to set, and something to set it on."""
        super().__post_init__()
        if not self.paths:
            raise InvalidField("paths", "name at least one path")
        if all(value is None for value in (self.owner, self.group, self.directories, self.files)) and not self.create:
            raise ValueError("nothing to set; name owner, group, directories or files")

    def build(self, context: StepContext) -> Permissions:
        """The step at work."""
        return Permissions(self, context)

    def explain(self) -> list[str]:
        """What would be set."""
        named = ((kind, getattr(self, kind)) for kind in ("owner", "group", "directories", "files"))
        what = ", ".join(f"{kind} {value}" for kind, value in named if value is not None)
        return [f"set {what} on {', '.join(self.paths)}{' and what is inside' if self.recursive else ''}"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The owner (-1: any) and bits (None: any) of one entry."""

    user: int
    group: int
    bits: int | None

    def fits(self, found: os.stat_result) -> bool:
        """Whether an entry has them already."""
        return (
            self.user in (-1, found.st_uid)
            and self.group in (-1, found.st_gid)
            and self.bits in (None, stat.S_IMODE(found.st_mode))
        )


class Permissions(Step):
    """The step at work, in a thread: a volume can hold many files."""

    def __init__(self, config: PermissionsConfig, context: StepContext) -> None:
        self.config, self._context = config, context

    async def done(self) -> bool:
        """Whether every entry is as wanted."""
        return await asyncio.to_thread(self._fits)

    async def apply(self) -> str:
        """Change the entries that are not; whoever dies in between finds the rest to do."""
        return f"changed {await asyncio.to_thread(self._change)} entries"

    def _fits(self) -> bool:
        if not all(os.path.lexists(path) for path in self.config.paths):
            return False
        return all(self._wanted(found).fits(found) for _, found in self._entries())

    def _change(self) -> int:
        if self.config.create:
            for path in self.config.paths:
                Path(path).mkdir(parents=True, exist_ok=True)
        changed = 0
        for path, found in self._entries():
            wanted = self._wanted(found)
            if wanted.fits(found):
                continue
            changed += 1
            try:
                # The owner first: a change of owner clears the set-user-id bits that the mode may ask for.
                if (wanted.user, wanted.group) != (-1, -1):
                    os.chown(path, wanted.user, wanted.group, follow_symlinks=False)
                if wanted.bits is not None:
                    _chmod(path, wanted.bits)
            except PermissionError as error:
                raise Fatal(
                    f"{path}: {error.strerror} for user {os.geteuid()}",
                    "run this container as the owner or as root with CHOWN and FOWNER, or set the pod's fsGroup",
                ) from None
        return changed

    def _wanted(self, found: os.stat_result) -> Wanted:
        config = self.config
        mode = config.directories if stat.S_ISDIR(found.st_mode) else config.files
        bits = None if mode is None or stat.S_ISLNK(found.st_mode) else int(mode, 8)
        return Wanted(-1 if config.owner is None else config.owner, -1 if config.group is None else config.group, bits)

    def _entries(self) -> Iterator[tuple[str, os.stat_result]]:
        """Every path, children before their folder: a folder that loses its x-bit would hide them."""
        for path in self.config.paths:
            if self.config.recursive and stat.S_ISDIR(os.lstat(path).st_mode):
                yield from _inside(path)
            yield path, os.lstat(path)


def _inside(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _inside(entry.path)
                yield entry.path, entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return  # gone since its folder was read: nothing to set


def _chmod(path: str, bits: int) -> None:
    """Linux has no chmod that does not follow links: hold on to the entry itself, and refuse if it has become one."""
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISLNK(os.fstat(descriptor).st_mode):
            Path(f"/proc/self/fd/{descriptor}").chmod(bits)
    finally:
        os.close(descriptor)
