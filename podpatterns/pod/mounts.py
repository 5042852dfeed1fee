"""Where containers find their volumes: at their real paths in namespaces, or by rewriting the paths they are given."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from podpatterns.errors import PodpatternsError
from podpatterns.pod import process
from podpatterns.pod.node.client import Node, NodeError
from podpatterns.pod.process import LaunchFailed, Plan
from podpatterns.pod.workspace import Workspace


class Mounts(enum.Enum):
    """How volumes get to their paths."""

    NAMESPACE = "namespace"
    """Each container has its own view of the file system."""
    REWRITE = "rewrite"
    """Mount paths at the start of values, arguments and words are replaced by the volumes' folders."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """What containers have of their own. `why`: what there is not, and the reason."""

    mounts: Mounts
    processes: bool
    """A PID namespace for each container: its main process is number 1 there."""
    why: tuple[str, ...] = ()


async def choose(wanted: str, workspace: Workspace, node: Node) -> Isolation:
    """What can be had for `auto`, `namespace` or `rewrite`. Raises PodpatternsError."""
    if wanted == "rewrite":
        return Isolation(Mounts.REWRITE, processes=False, why=("as asked for",))
    # The real thing, once: whether namespaces are allowed depends on more than can be read anywhere.
    plan = Plan(["/bin/true"], {}, root=str(workspace.root), mounts=[("/podpatterns", str(workspace.folder), True)])
    try:
        await node.ask("isolate")
        try:
            await process.run(node, replace(plan, processes=True), 10)
        except LaunchFailed as error:
            if error.stage != "processes":
                raise
            await process.run(node, plan, 10)
            return Isolation(Mounts.NAMESPACE, processes=False, why=(str(error),))
    except (NodeError, LaunchFailed, TimeoutError) as error:
        why = f"this machine gives this user no mount namespace: {str(error) or 'no answer'}"
        if wanted == "namespace":
            raise PodpatternsError(f"{why}; try --mounts rewrite") from None
        return Isolation(Mounts.REWRITE, processes=False, why=(why,))
    return Isolation(Mounts.NAMESPACE, processes=True)


class Rewriter:
    """Replaces mount paths; the longest one that fits counts."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = sorted(paths.items(), key=lambda item: -len(item[0]))

    def text(self, text: str) -> str:
        """A value: a path, or `name=path`, is replaced at its start and after `=`; the rest stays."""
        head, equals, tail = text.partition("=")
        if equals and not head.startswith("/") and tail.startswith("/"):
            return f"{head}={self._start(tail)}"
        return self._start(text)

    def _start(self, text: str) -> str:
        for target, folder in self._paths:
            if text == target or text.startswith(f"{target}/"):
                return folder + text[len(target) :]
        return text

    def words(self, words: Sequence[str]) -> list[str]:
        """A command."""
        return [self.text(word) for word in words]

    def variables(self, variables: Mapping[str, str]) -> dict[str, str]:
        """An environment; a PATH is left alone."""
        return {name: value if name == "PATH" else self.text(value) for name, value in variables.items()}
