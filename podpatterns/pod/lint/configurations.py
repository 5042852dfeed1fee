"""Our own configurations in ConfigMaps: what is wrong in one is found before a container has read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from podpatterns.errors import ConfigError, Problem
from podpatterns.pod.lint.finding import CONFIGURATION, Finding, Severity
from podpatterns.pod.workload import mapping, text
from podpatterns.runtime.config import PATTERNS, loads
from podpatterns.runtime.nodes import MapNode, Mark, ScalarNode

_ELSEWHERE = ("the environment variable", "cannot be imported")
"""What only the container can know: its variables, and the functions that are installed in its image."""


def check(document: MapNode, lines: Sequence[str]) -> Iterator[Finding]:
    """What is wrong with the keys of a ConfigMap that our images look for, such as `sidecar.yaml`.

    `lines`: those of the file that the document stands in.
    """
    if text(document, "kind") != "ConfigMap":
        return
    for key, node in mapping(document, "data").entries.items():
        if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
            continue
        if key not in _NAMES or not any(f"{name}:" in node.value for name in PATTERNS):
            continue
        try:
            loads([(key, node.value)], {})
        except ConfigError as error:
            for problem in error.problems:
                if not any(words in problem.message for words in _ELSEWHERE):
                    yield _finding(key, node, problem, lines)


_NAMES = {f"{name}.yaml" for name in PATTERNS}


def _finding(key: str, node: ScalarNode, problem: Problem, lines: Sequence[str]) -> Finding:
    what, _, remedy = problem.message.partition("; ")
    message = ": ".join(part for part in (key, problem.path, what) if part)
    place = _mark(node.mark, problem, lines)
    return Finding(CONFIGURATION, Severity.ERROR, place, message, remedy or "the container would not start")


def _mark(mark: Mark, problem: Problem, lines: Sequence[str]) -> Mark:
    """The place in the manifest: in a block (`|`) each line of the configuration is one of the file."""
    assert mark.line is not None
    assert mark.column is not None
    head = lines[mark.line - 1][mark.column - 1 :]
    if not head.startswith("|") or problem.line is None:
        return mark
    indent = next((len(line) - len(line.lstrip(" ")) for line in lines[mark.line :] if line.strip()), 0)
    return Mark(mark.file, mark.line + problem.line, indent + (problem.column or 1))
