"""A pod's volumes as folders of this machine, made before its containers and kept up to date while it runs.

Files from ConfigMaps, Secrets and the pod's own fields are laid out as the kubelet's atomic writer does: a folder named
after the time holds them, `..data` points to it, and the visible names point through `..data`. A change is one rename.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import stat
import time
from collections.abc import Mapping
from pathlib import Path

from podpatterns.pod import environment, guard
from podpatterns.pod.environment import Sources, Unresolved
from podpatterns.pod.model import Container, EmptyDir, FieldRef, HostPath, Keys, Mount, PodSpec, Projected, Volume
from podpatterns.pod.node.client import Node, NodeError
from podpatterns.pod.workspace import Workspace

_counter = itertools.count()

_TYPES = {
    "Directory": stat.S_ISDIR,
    "File": stat.S_ISREG,
    "Socket": stat.S_ISSOCK,
    "CharDevice": stat.S_ISCHR,
    "BlockDevice": stat.S_ISBLK,
}


class PodVolumes:
    """The volumes of one pod. `paths`: their folders by name, as they are seen from here, once they are there."""

    def __init__(self, pod: PodSpec, workspace: Workspace, sources: Sources) -> None:
        self.paths: dict[str, Path] = {}
        self.sized: set[str] = set()
        """Those that cannot grow beyond their sizeLimit."""
        self._pod = pod
        self._workspace = workspace
        self._sources = sources
        self._by_name = {volume.name: volume for volume in pod.volumes}
        self._folders: dict[str, Path] = {}

    async def open(self, node: Node | None) -> None:
        """Make them all; `node` gives those in memory their size, None: nobody can.

        What is missing is said by each container that wants it, and looked for again when that is restarted.
        """
        for volume in self._pod.volumes:
            source = volume.source
            if isinstance(source, EmptyDir):  # an earlier pod of the same Job may have had one of that name
                guard.remove(str(self._workspace.volume(self._pod.name, volume.name, memory=source.memory)))
            with contextlib.suppress(Unresolved, OSError):
                self._prepare(volume)
            if not isinstance(source, EmptyDir) or source.limit is None or not source.memory:
                continue
            if node is not None and self._workspace.kept is None:
                folder = self._folders.get(volume.name)
                if folder is None:
                    continue  # it could not be made, and is tried again by who wants it
                with contextlib.suppress(NodeError):  # its size is watched then, as on a disk
                    await node.ask("tmpfs", path=str(folder), size=source.limit)
                    # It is mounted where the node is, and not where we are.
                    self.paths[volume.name] = Path(f"/proc/{node.pid}/root{folder}")
                    self.sized.add(volume.name)

    def _prepare(self, volume: Volume) -> None:
        memory = isinstance(volume.source, EmptyDir) and volume.source.memory
        folder = self._workspace.volume(self._pod.name, volume.name, memory=memory)
        made = prepare(self._pod, volume, folder, self._sources)
        self.paths[volume.name] = self._folders[volume.name] = made

    def update(self, sources: Sources) -> list[str]:
        """Take up new contents of ConfigMaps and Secrets; the names of the volumes that have changed.

        A volume for which they are wrong stays as it is: raises Unresolved, after the others have been done.
        """
        self._sources = sources
        changed, wrong = [], []
        for volume in self._pod.volumes:
            if isinstance(volume.source, Projected) and volume.name in self._folders:
                try:
                    if publish(self._folders[volume.name], contents(self._pod, volume.source, sources)):
                        changed.append(volume.name)
                except (Unresolved, OSError) as error:
                    wrong.append(f'volume "{volume.name}" stays as it is: {error}')
        if wrong:
            raise Unresolved("; ".join(wrong))
        return changed

    def overfull(self) -> str | None:
        """What is to be said of the first volume that has outgrown its sizeLimit; None if none has. Reads folders."""
        for volume in self._pod.volumes:
            source, folder = volume.source, self._folders.get(volume.name)
            if isinstance(source, EmptyDir) and source.limit is not None and folder and volume.name not in self.sized:
                held = used(folder)
                if held > source.limit:
                    return f'Usage of EmptyDir volume "{volume.name}" exceeds the limit: {held} of {source.limit} bytes'
        return None

    def seen_by(self, container: Container, variables: Mapping[str, str]) -> dict[str, tuple[str, bool]]:
        """For each mount path, what is to be seen there and whether it is read-only. Raises Unresolved, OSError."""
        result = {}
        for mount in container.mounts:
            volume = self._by_name[mount.volume]
            if mount.volume not in self._folders:
                self._prepare(volume)
            path = self._folders[mount.volume]
            if mount.sub_path:
                path = self._part(volume, path, mount, variables)
            result[mount.path] = (str(path), mount.read_only or isinstance(volume.source, Projected))
        return result

    def _part(self, volume: Volume, path: Path, mount: Mount, variables: Mapping[str, str]) -> Path:
        """A sub-path, made if the volume is empty at first."""
        sub = environment.expand(mount.sub_path, variables) if mount.expand else mount.sub_path
        if sub.startswith("/") or ".." in sub.split("/"):
            raise Unresolved(f'subPathExpr "{mount.sub_path}" gives "{sub}", which leaves the volume')
        here = self.paths[volume.name] / sub
        if not here.exists():
            if not isinstance(volume.source, EmptyDir):
                raise Unresolved(f'the volume "{volume.name}" has no "{sub}"')
            here.mkdir(parents=True)
            here.chmod(0o777)
        return path / sub


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


def used(folder: Path) -> int:
    """Bytes on disk that a folder holds, as `du` counts them; what vanishes meanwhile counts nothing."""
    total, folders = 0, [folder]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
    return total


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
    """Put the files into the folder in one step; True if anything has changed. Raises OSError, with all as it was."""
    data = folder / "..data"
    old = data.resolve() if data.is_symlink() else None
    if old is not None and _held(old) == {path: body for path, (body, _) in files.items()}:
        return False
    new = folder / f"..{time.strftime('%Y_%m_%d_%H_%M_%S')}.{os.getpid()}.{next(_counter)}"
    new.mkdir()
    try:
        for path, (body, mode) in files.items():
            file = new / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)
            file.chmod(mode)
    except OSError:
        shutil.rmtree(new)
        raise
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
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise Unresolved(f'volume "{name}": there is no {path} on this machine') from None
    except OSError as error:
        raise Unresolved(f'volume "{name}": {path}: {error.strerror}') from None
    wanted = _TYPES.get(source.type.removesuffix("OrCreate"))
    if wanted is not None and not wanted(mode):
        raise Unresolved(f'volume "{name}": {path} is not a {source.type.removesuffix("OrCreate")}')
    return path
