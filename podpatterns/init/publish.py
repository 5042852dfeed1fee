"""Making results visible in one step: whoever reads sees the old or the new, never a part, whenever we are killed."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from podpatterns.init.steps import Fatal


def write(path: Path, content: bytes, mode: int) -> None:
    """Write a file by renaming a complete one, with these permission bits, over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    settle(path.parent)


def flip(link: Path, target: str) -> None:
    """Point the symlink `link` at `target` (relative to its own directory) in one step.

    Raises:
        Fatal: something that is not a symlink stands in its place; it is not ours to remove.
    """
    if os.path.lexists(link) and not link.is_symlink():
        raise Fatal(f"{link} is in the way: it is not a symlink", "remove it, or choose another place")
    link.parent.mkdir(parents=True, exist_ok=True)
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)
    settle(link.parent)


def settle(directory: Path) -> None:
    """Have the directory's entries on disk, so that a rename also survives the loss of power."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> bool:
    """Remove whatever is at `path`, itself and not what a link leads to; False if there was nothing."""
    if not os.path.lexists(path):
        return False
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path)
    return True
