"""The folders of a run, and the guard that removes them if the runner is killed."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from podpatterns.errors import ConfigError, Problem
from podpatterns.pod import guard

GUARD = Path(__file__).with_name("guard.py")
MARK = "PODPATTERNS_RUN"
"""The variable that every process of a run carries."""
PREFIX = "podpatterns-"
"""The beginning of the name of every run's folder."""
CONTROL = "control.sock"
_OURS = ".made-by-podpatterns"


class Workspace:
    """Where a run keeps its files. `kept`: the folder that stays, with the volumes in it; None if all goes."""

    def __init__(self, folder: Path, run: str, kept: Path | None) -> None:
        self.folder = folder
        self.memory = memory_folder(run)
        self.run = run
        self.kept = kept
        self.root = folder / "root"
        self.root.mkdir()

    def volume(self, pod: str, name: str, *, memory: bool = False) -> Path:
        """The folder for a volume; `memory`: in memory, where the machine has such a place and it is not to be kept."""
        if memory and self.kept is None and self.memory.parent.is_dir():
            self.memory.mkdir(mode=0o700, exist_ok=True)
            return self.memory / pod / name
        return (self.kept or self.folder / "volumes") / pod / name

    def logs(self, pod: str) -> Path:
        """The folder for what a pod's containers write."""
        return self.folder / "logs" / pod

    @property
    def control(self) -> Path:
        """The socket at which the run is asked and told things from outside."""
        return self.folder / CONTROL

    def etc(self, pod: str) -> Path:
        """The folder for a pod's own files in /etc."""
        folder = self.folder / "etc" / pod
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def termination_message(self, pod: str, container: str) -> Path:
        """The file for a container's termination message."""
        folder = self.folder / "messages" / pod
        folder.mkdir(parents=True, exist_ok=True)
        return folder / container


def memory_folder(run: str) -> Path:
    """Where a run's volumes in memory are."""
    return Path("/dev/shm") / f"podpatterns-{run}"  # noqa: S108 - named after 64 random bits, made with mode 700


@contextmanager
def workspace(keep: Path | None = None) -> Iterator[Workspace]:
    """Folders for one run, gone at its end whatever happens to this process.

    Raises:
        ConfigError: `keep` holds somebody else's files, or is the folder of another run that goes on.
    """
    with ExitStack() as stack:
        if keep is not None:
            keep = keep.resolve()
            stack.enter_context(_taken(keep))
            _empty(keep)
        yield stack.enter_context(_guarded(keep))


@contextmanager
def _guarded(kept: Path | None) -> Iterator[Workspace]:
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    run = secrets.token_hex(8)
    read_end, write_end = os.pipe()
    try:
        watcher = subprocess.Popen(  # noqa: S603 - our own program
            [
                sys.executable,
                "-I",
                "-S",
                str(GUARD),
                str(read_end),
                f"{MARK}={run}",
                str(folder),
                str(memory_folder(run)),
            ],
            pass_fds=(read_end,),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
    except BaseException:
        os.close(write_end)
        shutil.rmtree(folder)
        raise
    finally:
        os.close(read_end)
    try:
        yield Workspace(folder, run, kept)
    finally:
        guard.kill_marked(f"{MARK}={run}".encode())  # what has left its container's group
        guard.remove(str(folder))
        guard.remove(str(memory_folder(run)))
        os.write(write_end, b".")
        os.close(write_end)
        watcher.wait()


def _taken(keep: Path) -> IO[str]:
    """The folder's mark, open and locked: as long as it is, no other run takes the folder and empties it."""
    try:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()) and not (keep / _OURS).is_file():
            raise _unfit(keep, "holds files that no earlier run has made; name another folder")
        mark = (keep / _OURS).open("w", encoding="utf-8")
    except (FileExistsError, NotADirectoryError):
        raise _unfit(keep, "is not a folder; name another one") from None
    except OSError as error:
        raise _unfit(keep, f"cannot be used: {error.strerror}; name another folder") from None
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        mark.close()
        raise _unfit(keep, "another run has its volumes there; end that one, or name another folder") from None
    mark.write("The next run with --keep empties this folder.\n")
    mark.flush()
    return mark


def _empty(keep: Path) -> None:
    for entry in keep.iterdir():
        if entry.name == _OURS:
            continue
        if entry.is_dir() and not entry.is_symlink():
            guard.remove(str(entry))
        else:
            with suppress(PermissionError):
                entry.unlink()
        if os.path.lexists(entry):
            raise _unfit(keep, f"{entry.name} of an earlier run cannot be removed; name another folder")


def _unfit(keep: Path, why: str) -> ConfigError:
    return ConfigError([Problem(f"--keep {keep}: {why}")])
