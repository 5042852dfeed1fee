"""Unpacking archives from elsewhere into a fresh folder, and nowhere else.

What an archive may hold is decided here, not by the archive: files, folders, and symlinks that stay inside. Absolute
names, `..`, devices and links that lead out are refused, and so is what grows beyond a limit (a "zip bomb").
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from podpatterns.errors import PodpatternsError

MAX_MEMBERS = 200_000
"""Files in an archive; each costs an inode, of which a volume has only so many."""


class UnsafeArchive(PodpatternsError):  # noqa: N818 - named after the archive
    """The archive is damaged, or holds what it must not."""


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive. `link` is the target of a symlink; `content` opens the bytes of a file."""

    name: str
    kind: Literal["file", "folder", "link"]
    executable: bool
    link: str
    content: Callable[[], IO[bytes]] | None


def inside(name: str, strip: int) -> PurePosixPath | None:
    """Where a member goes, relative to the target; None if `strip` leading folders leave nothing of it. Pure.

    Raises:
        UnsafeArchive: the name leads out of the target.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name:
        raise UnsafeArchive(f"the archive holds {name!r}, which leads out of the target")
    parts = path.parts[strip:]
    return PurePosixPath(*parts) if parts else None


class Stopped(PodpatternsError):  # noqa: N818 - named after what has happened
    """Whoever had the archive unpacked does not want it any more."""


def unpack(
    archive: Path,
    kind: Literal["tar", "zip"],
    target: Path,
    *,
    largest: int,
    strip: int = 0,
    stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Unpack into `target`, a new folder, up to `largest` bytes; returns the number of files.

    Raises:
        UnsafeArchive: see there; what has been unpacked so far is left to the caller to remove.
        Stopped: `stopped`, which is asked at each file, said so.
    """
    target.mkdir(parents=True)
    count, left = 0, largest
    links: list[tuple[Path, str]] = []
    try:
        with (_tar if kind == "tar" else _zip)(archive) as members:
            for number, member in enumerate(members):
                if stopped():
                    raise Stopped(f"{archive} was not unpacked any further")
                if number >= MAX_MEMBERS:
                    raise UnsafeArchive(f"the archive holds more than {MAX_MEMBERS} entries")
                relative = inside(member.name, strip)
                if relative is None:
                    continue
                place = target / relative
                if member.kind == "folder":
                    place.mkdir(parents=True, exist_ok=True)
                    continue
                place.parent.mkdir(parents=True, exist_ok=True)
                if member.kind == "link":
                    links.append((place, member.link))
                    continue
                left -= _copy(member, place, left)
                count += 1
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise UnsafeArchive(f"the archive is damaged or of another kind: {error}") from None
    except (FileExistsError, NotADirectoryError) as error:
        raise UnsafeArchive(f"the archive holds {error.filename} twice") from None
    _link(target, links)
    return count


def _copy(member: Member, place: Path, left: int) -> int:
    assert member.content is not None
    written = 0
    # "x": no file is written twice. Links are made last, so no name can lead through one.
    with member.content() as source, place.open("xb") as copy:
        while chunk := source.read(1 << 18):
            written += len(chunk)
            if written > left:
                raise UnsafeArchive("the archive unpacks to more than `max_size` allows")
            copy.write(chunk)
        os.fchmod(copy.fileno(), 0o755 if member.executable else 0o644)
    return written


def _link(target: Path, links: list[tuple[Path, str]]) -> None:
    """Make the symlinks, and look where they really lead: one may lead through another."""
    for place, to in links:
        try:
            place.symlink_to(to)
        except FileExistsError:
            raise UnsafeArchive(f"the archive holds {place.name} twice") from None
    top = os.path.realpath(target)
    for place, to in links:
        if not Path(os.path.realpath(place)).is_relative_to(top):
            raise UnsafeArchive(f"the archive holds a link to {to!r}, which leads out of the target")


@contextmanager
def _tar(archive: Path) -> Iterator[Iterator[Member]]:
    with tarfile.open(archive, "r:*") as tar:
        yield _tar_members(tar)


def _tar_members(tar: tarfile.TarFile) -> Iterator[Member]:
    for entry in tar:
        if entry.isdir():
            yield Member(entry.name, "folder", executable=False, link="", content=None)
        elif entry.issym():
            yield Member(entry.name, "link", executable=False, link=entry.linkname, content=None)
        elif entry.isreg():
            yield Member(entry.name, "file", bool(entry.mode & 0o100), "", lambda entry=entry: _opened(tar, entry))  # type: ignore[misc]
        else:
            raise UnsafeArchive(f"the archive holds {entry.name!r}, which is not a file, a folder or a symlink")


def _opened(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(entry)
    assert content is not None
    return content


@contextmanager
def _zip(archive: Path) -> Iterator[Iterator[Member]]:
    with zipfile.ZipFile(archive) as pack:
        yield _zip_members(pack)


def _zip_members(pack: zipfile.ZipFile) -> Iterator[Member]:
    for entry in pack.infolist():
        mode = entry.external_attr >> 16
        if entry.flag_bits & 1:
            raise UnsafeArchive("the archive is encrypted")
        if entry.is_dir():
            yield Member(entry.filename, "folder", executable=False, link="", content=None)
        elif stat.S_ISLNK(mode):
            if entry.file_size > 4096:
                raise UnsafeArchive(f"the archive holds {entry.filename!r}, a link with an endless target")
            link = pack.read(entry).decode("utf-8", "replace")
            yield Member(entry.filename, "link", executable=False, link=link, content=None)
        else:
            yield Member(entry.filename, "file", bool(mode & 0o100), "", lambda entry=entry: pack.open(entry))  # type: ignore[misc]


def discard(folder: Path) -> None:
    """Remove what was unpacked, if anything."""
    if folder.exists():
        shutil.rmtree(folder)
