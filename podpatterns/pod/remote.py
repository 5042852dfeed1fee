"""Runs of pods in other processes of this user: finding them, asking them, and telling their containers apart."""

from __future__ import annotations

import json
import os
import socket
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from podpatterns.errors import PodpatternsError
from podpatterns.pod.workspace import CONTROL, PREFIX
from podpatterns.runtime.decode import suggest

PATIENCE = 5.0
"""Seconds for an answer."""
_FILES = (".yaml", ".yml", ".json")
START = "start one with: podpatterns pod run MANIFEST"


class NotFound(PodpatternsError):  # noqa: N818 - what became of the search
    """No pod or container fits what was named, or several do; the message says which there are."""


class Refused(PodpatternsError):  # noqa: N818 - what the run has done
    """The run does not do what was asked; the message is its own."""


@dataclass(frozen=True, slots=True)
class Target:
    """A pod of a run, and one of its containers if one is meant. `chosen`: nobody has named the container."""

    run: Run
    pod: str
    container: str | None = None
    chosen: bool = False

    def ask(self, verb: str, **more: Any) -> dict[str, Any]:
        """The answer. Raises Refused."""
        with self.asking(verb, **more) as (answer, _):
            return answer

    @contextmanager
    def asking(self, verb: str, **more: Any) -> Iterator[tuple[dict[str, Any], BinaryIO]]:
        """The answer, and the stream behind it. Raises Refused."""
        request = {"verb": verb, "pod": self.pod, "container": self.container, **more}
        try:
            connection, stream = _call(self.run.folder, request)
        except OSError:
            raise Refused(f"the run of {self.pod}, process {self.run.pid}, has just ended") from None
        with connection, stream:
            yield _answer(stream), stream


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of a run: its containers as (name, kind), and the manifest's file."""

    name: str
    containers: tuple[tuple[str, str], ...]
    file: str | None

    def default(self) -> str:
        """The container that is meant when none is named: the first main one, as with kubectl."""
        return next(name for name, kind in self.containers if kind == "main")


@dataclass(frozen=True, slots=True)
class Run:
    """A `pod run` of this user. `pid` is its process."""

    folder: Path
    pid: int
    pods: tuple[Pod, ...]


def runs() -> list[Run]:
    """The oldest first. Raises NotFound if one does not answer: it might be the one that is meant."""
    found = []
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"), key=_age):
        try:
            if folder.stat().st_uid != os.geteuid():
                continue  # somebody else's; nothing in it is to be believed
            connection, stream = _call(folder, {"verb": "pods"})
            with connection, stream:
                answer = _answer(stream)
            pods = (
                Pod(pod["name"], tuple((name, kind) for name, kind in pod["containers"]), pod["file"])
                for pod in answer["pods"]
            )
            found.append(Run(folder, answer["pid"], tuple(pods)))
        except TimeoutError as error:
            raise NotFound(f"{error} does not answer; is it stopped, or does it wait for its terminal?") from None
        except (OSError, ValueError, KeyError):
            continue  # it has just ended, or has just begun
    return found


def _age(folder: Path) -> float:
    try:
        return folder.stat().st_ctime
    except OSError:
        return 0.0


def _call(folder: Path, request: dict[str, Any]) -> tuple[socket.socket, BinaryIO]:
    """Send a request; returns when an answer comes. Raises OSError, TimeoutError with whose answer has not come."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(PATIENCE)
        connection.connect(f"/proc/self/fd/{descriptor}/{CONTROL}")
        connection.sendall(json.dumps(request).encode() + b"\n")
        try:
            if not connection.recv(1, socket.MSG_PEEK):
                raise ConnectionResetError("it has ended")
        except TimeoutError:
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            raise TimeoutError(f"the run in process {struct.unpack('3i', peer)[0]}") from None
        connection.settimeout(None)
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(descriptor)
    return connection, connection.makefile("rb")


def _answer(stream: BinaryIO) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(stream.readline())
    if "error" in answer:
        raise Refused(answer["error"])
    return answer


def find(name: str | None = None, container: str | None = None, *, pid: int | None = None) -> list[Target]:
    """The pods that are meant: of this name, with a container of this name, or of this manifest; None: all of them.

    Raises:
        NotFound: none is.
    """
    everything = [(run, pod) for run in runs() if pid in (None, run.pid) for pod in run.pods]
    if not everything:
        which = f"the process {pid} runs no pods" if pid is not None else "no pod is running here"
        raise NotFound(f"{which}; {START}")
    if name is None and container is None:
        return [Target(run, pod.name) for run, pod in everything]
    wanted, _, inner = (name or "").partition("/")
    if name is not None and name.endswith(_FILES):
        everything = [(run, pod) for run, pod in everything if pod.file == str(Path(name).resolve())]
        if not everything:
            raise NotFound(f"no pod of {name} is running here; start it with: podpatterns pod run {name}")
        wanted = inner = ""
    inner = container or inner
    found = [
        Target(run, pod.name, inner or None)
        for run, pod in everything
        if wanted in ("", pod.name) and (not inner or inner in dict(pod.containers))
    ]
    if not found and wanted and not inner:  # a container by its own name
        found = [Target(run, pod.name, wanted) for run, pod in everything if wanted in dict(pod.containers)]
    if not found:
        raise NotFound(_nothing(wanted, inner, [pod for _, pod in everything]))
    return found


def _nothing(wanted: str, inner: str, pods: Sequence[Pod]) -> str:
    pods = [pod for pod in pods if pod.name == wanted] or pods
    containers = [name for pod in pods for name, _ in pod.containers]
    if inner:
        of = f'the pod "{pods[0].name}" has' if len(pods) == 1 else "no pod has"
        no = "no" if len(pods) == 1 else "a"
        return f'{of} {no} container "{inner}"{suggest(inner, containers)}'
    there = "; ".join(f"{pod.name} ({', '.join(name for name, _ in pod.containers)})" for pod in pods)
    return f'no pod and no container is called "{wanted}"; running: {there}'


def find_one(
    name: str | None = None, container: str | None = None, *, pid: int | None = None, default: bool = True
) -> Target:
    """The one container that is meant; with `default`, a pod stands for its first main one. Raises NotFound."""
    found = find(name, container, pid=pid)
    if len(found) > 1:
        raise NotFound(_several(found, name or container))
    (target,) = found
    if target.container is not None:
        return target
    pod = next(pod for pod in target.run.pods if pod.name == target.pod)
    if default or len(pod.containers) == 1:
        return Target(target.run, pod.name, pod.default(), chosen=len(pod.containers) > 1)
    names = ", ".join(f"{pod.name}/{name}" for name, _ in pod.containers)
    raise NotFound(f'the pod "{pod.name}" has several containers; name one of {names}')


def _several(found: Sequence[Target], wanted: str | None) -> str:
    names = [f"{target.pod}/{target.container}" if target.container else target.pod for target in found]
    if len(set(names)) < len(names):
        runs_ = ", ".join(f"{target.run.pid} ({name})" for target, name in zip(found, names, strict=True))
        return f"several runs have it; add --run with the process id of one: {runs_}"
    if wanted is None:
        return f"several pods are running; name one of {', '.join(names)}"
    return f'several pods have a container "{wanted}"; name one of {", ".join(names)}'
