"""A pod's volumes as folders of this machine.

Files from ConfigMaps, Secrets and the pod's own fields are laid out as the kubelet's atomic writer does: a folder named
after the time holds them, `..data` points to it, and the visible names point through `..data`. A change is one rename.
"""

from __future__ import annotations

import itertools
import os
import shutil
import stat
import time
from collections.abc import Mapping
from pathlib import Path

from podpatterns.pod import environment
from podpatterns.pod.environment import Sources, Unresolved
from podpatterns.pod.model import EmptyDir, FieldRef, HostPath, Keys, PodSpec, Projected, Volume

_counter = itertools.count()

_TYPES = {
    "Directory": stat.S_ISDIR,
    "File": stat.S_ISREG,
    "Socket": stat.S_ISSOCK,
    "CharDevice": stat.S_ISCHR,
    "BlockDevice": stat.S_ISBLK,
}


def prepare(pod: PodSpec, volume: Volume, folder: Path, sources: Sources) -> Path:
    """Make the volume; returns its path, which is `folder` except for a hostPath. Raises Unresolved."""
    source = volume.source
    if isinstance(source, HostPath):
        return _host_path(volume.name, source)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(source, EmptyDir):
        folder.chmod(0o777)
    else:
        publish(folder, contents(pod, source, sources))
    return folder


def contents(pod: PodSpec, source: Projected, sources: Sources) -> dict[str, tuple[bytes, int]]:
    """The files of a volume by relative path, with their modes."""
    files: dict[str, tuple[bytes, int]] = {}
    for part in source.sources:
        if isinstance(part, Keys):
            found = environment.lookup(pod, sources, part.source, part.name, optional=part.optional)
            if part.items is None:
                files.update({key: (value, source.mode) for key, value in found.items()})
                continue
            for item in part.items:
                if item.key in found:
                    files[item.path] = (found[item.key], item.mode if item.mode is not None else source.mode)
                elif not part.optional:
                    raise Unresolved(f'the {part.source} "{part.name}" has no key "{item.key}"')
        else:
            for path, reference, mode in part.items:
                if isinstance(reference, FieldRef):
                    text = environment.field(pod, reference)
                else:
                    text = environment.resource(pod, pod.mains[0], reference)
                files[path] = (text.encode(), mode if mode is not None else source.mode)
    return files


def publish(folder: Path, files: Mapping[str, tuple[bytes, int]]) -> bool:
    """Put the files into the folder in one step; True if anything has changed."""
    data = folder / "..data"
    old = data.resolve() if data.is_symlink() else None
    if old is not None and _held(old) == {path: body for path, (body, _) in files.items()}:
        return False
    new = folder / f"..{time.strftime('%Y_%m_%d_%H_%M_%S')}.{os.getpid()}.{next(_counter)}"
    new.mkdir()
    for path, (body, mode) in files.items():
        file = new / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
        file.chmod(mode)
    link = folder / "..data_tmp"
    link.symlink_to(new.name)
    link.replace(data)
    visible = {path.split("/")[0] for path in files}
    for entry in folder.iterdir():
        if not entry.name.startswith("..") and entry.name not in visible:
            entry.unlink()
    for name in visible:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    if old is not None:
        shutil.rmtree(old)
    return True


def _held(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def _host_path(name: str, source: HostPath) -> Path:
    path = Path(source.path)
    if source.type == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True, mode=0o755)
    elif source.type == "FileOrCreate":
        path.touch(mode=0o644)
    elif not path.exists():
        raise Unresolved(f'volume "{name}": there is no {path} on this machine')
    wanted = _TYPES.get(source.type.removesuffix("OrCreate"))
    if wanted is not None and not wanted(path.stat().st_mode):
        raise Unresolved(f'volume "{name}": {path} is not a {source.type.removesuffix("OrCreate")}')
    return path
