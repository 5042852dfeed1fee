"""Volumes: who writes, who reads, and what changes while they do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from podpatterns.pod.lint.finding import Found, Rule, Severity
from podpatterns.pod.workload import Container, Role, Workload, at, mapping, text, value
from podpatterns.runtime.decode import suggest
from podpatterns.runtime.nodes import MapNode, ScalarNode

RELOADING: Final = ("configMap", "secret", "projected", "downwardAPI")
"""Volumes whose files change while the pod runs."""


_LOGS = re.compile(r"(?:^|/)logs?(?:/|$)")
"""Folders that are shared for somebody to read; others may be a container's own."""


def mount_without_volume(workload: Workload) -> Iterator[Found]:
    """Every mount names a volume of the pod."""
    known = [*workload.volumes, *workload.claims]
    for each in workload.containers:
        for mount in each.mounts:
            name = text(mount, "name")
            if name and name not in known:
                yield Found(
                    mount.entries["name"].mark,
                    f'{each.title} mounts the volume "{name}", which the pod does not have{suggest(name, known)}',
                    "add it under volumes",
                )


def mount_twice(workload: Workload) -> Iterator[Found]:
    """One path, one volume."""
    for each in workload.containers:
        seen: dict[str, MapNode] = {}
        for mount in each.mounts:
            path = text(mount, "mountPath").rstrip("/")
            other = seen.setdefault(path, mount)
            if path and other is not mount:
                yield Found(
                    mount.entries["mountPath"].mark,
                    f"{each.title} mounts {text(other, 'name')} and {text(mount, 'name')} at {path}",
                    "give one of them another path",
                )


def _mounts(workload: Workload, name: str) -> list[tuple[Container, MapNode]]:
    return [(each, mount) for each in workload.containers for mount in each.mounts if text(mount, "name") == name]


def unused_volume(workload: Workload) -> Iterator[Found]:
    """A volume that nobody mounts."""
    for name, volume in workload.volumes.items():
        if not _mounts(workload, name):
            yield Found(volume.entries["name"].mark, f'no container mounts the volume "{name}"', "mount or remove it")


def volume_without_reader(workload: Workload) -> Iterator[Found]:
    """A shared folder is for two: one who writes, and one who reads."""
    if len(workload.containers) < 2:
        return
    for name, volume in workload.volumes.items():
        users = _mounts(workload, name)
        if "emptyDir" not in volume.entries or len({each.name for each, _ in users}) != 1:
            continue
        ((each, mount), *_) = users
        path = text(mount, "mountPath")
        if any(path.startswith(scratch) for scratch in ("/tmp", "/var/cache", "/var/run", "/run")):  # noqa: S108
            continue  # a writable folder beside a read-only root file system is for its container alone
        spoken = any(_mentions(other, path) for other in workload.containers if other is not each)
        if spoken or (_LOGS.search(path) and value(mount, "readOnly") is not True):
            why = f"another container speaks of {path}" if spoken else "nobody reads the logs in it"
            yield Found(
                volume.entries["name"].mark,
                f'the volume "{name}" is mounted by {each.title} alone, and {why}',
                "mount it where it is read as well",
            )


def _mentions(container: Container, path: str) -> bool:
    return len(path) > 1 and path in container.commands


def empty_dir_without_limit(workload: Workload) -> Iterator[Found]:
    """An emptyDir without a limit can fill the node's disk, or with `medium: Memory` its memory."""
    for name, volume in workload.volumes.items():
        node = volume.entries.get("emptyDir")
        if node is not None and value(volume, "emptyDir.sizeLimit") is None:
            medium = text(volume, "emptyDir.medium")
            harm = "the container's memory limit" if medium == "Memory" else "the node's disk"
            yield Found(
                volume.keys["emptyDir"],
                f'the emptyDir "{name}" has no sizeLimit: what is written to it can use up {harm}',
                'add one, such as "emptyDir: {sizeLimit: 256Mi}"',
            )


def sub_path_of_reloading(workload: Workload) -> Iterator[Found]:
    """A mount with subPath is bound to one file for ever."""
    for name, volume in workload.volumes.items():
        kind = next((each for each in RELOADING if each in volume.entries), None)
        if kind is None:
            continue
        for each, mount in _mounts(workload, name):
            if any(key in mount.entries for key in ("subPath", "subPathExpr")):
                key = "subPath" if "subPath" in mount.entries else "subPathExpr"
                yield Found(
                    mount.keys[key],
                    f'{each.title} mounts a part of the {kind} "{name}" by {key}: it never sees a change of it',
                    "mount the whole volume, and point the configuration to the file in it",
                )


def read_only_without_room(workload: Workload) -> Iterator[Found]:
    """With a read-only root file system most programs want one folder to write to."""
    for each in workload.of(Role.SIDECAR, Role.MAIN):
        if value(each.node, "securityContext.readOnlyRootFilesystem") is not True:
            continue
        if "podpatterns/" in text(each.node, "image"):
            continue  # writes to what its configuration names, and nowhere else
        if not any(_writable(workload, mount) for mount in each.mounts):
            yield Found(
                mapping(each.node, "securityContext").keys["readOnlyRootFilesystem"],
                f"{each.title} has a read-only root file system and no folder to write to",
                "mount an emptyDir at /tmp, unless it is known to write nothing",
            )


def _writable(workload: Workload, mount: MapNode) -> bool:
    volume = workload.volumes.get(text(mount, "name"))
    fixed = volume is not None and any(kind in volume.entries for kind in RELOADING)
    return value(mount, "readOnly") is not True and not fixed


def user_mismatch(workload: Workload) -> Iterator[Found]:
    """Who shares files must be allowed to read them."""
    if value(workload.spec, "securityContext.fsGroup") is not None:
        return
    for name, volume in workload.volumes.items():
        if "emptyDir" not in volume.entries:
            continue
        users = {each: each.security("runAsUser", workload.spec) for each, _ in _mounts(workload, name)}
        given = {each: user for each, user in users.items() if isinstance(user, int)}
        if len(given) == len(users) > 1 and len(set(given.values())) > 1:
            said = ", ".join(f"{each.name} {user}" for each, user in given.items())
            yield Found(
                volume.entries["name"].mark,
                f'the volume "{name}" is shared by containers of different users ({said}), without an fsGroup',
                "give the pod's securityContext an fsGroup, or the containers one runAsUser",
            )


def unknown_volume_kind(workload: Workload) -> Iterator[Found]:
    """A volume without a source is an empty folder, which is seldom what was meant."""
    for name, volume in workload.volumes.items():
        sources = [key for key in volume.entries if key != "name"]
        node = at(volume, sources[0]) if sources else None
        if not sources or (isinstance(node, ScalarNode) and node.value is None):
            yield Found(
                volume.mark, f'the volume "{name}" says nothing of its source', 'add one, such as "emptyDir: {}"'
            )


RULES = (
    Rule("mount-without-volume", Severity.ERROR, "The API server refuses the pod.", mount_without_volume),
    Rule("mount-twice", Severity.ERROR, "The API server refuses the pod.", mount_twice),
    Rule(
        "volume-without-source",
        Severity.ERROR,
        "The API server refuses the pod, or takes an emptyDir.",
        unknown_volume_kind,
    ),
    Rule("unused-volume", Severity.WARNING, "The pod waits for it, and nobody uses it.", unused_volume),
    Rule(
        "volume-without-reader",
        Severity.WARNING,
        "What one container writes, the other looks for in a folder of its own.",
        volume_without_reader,
    ),
    Rule(
        "empty-dir-without-limit",
        Severity.WARNING,
        "One pod that writes too much has its node's other pods evicted.",
        empty_dir_without_limit,
    ),
    Rule(
        "sub-path-of-reloading-volume",
        Severity.WARNING,
        "Changed configuration and rotated secrets do not arrive.",
        sub_path_of_reloading,
    ),
    Rule(
        "read-only-without-room",
        Severity.WARNING,
        "The program fails when it first wants to write.",
        read_only_without_room,
    ),
    Rule("user-mismatch", Severity.WARNING, "One container cannot read what the other writes.", user_mismatch),
)
