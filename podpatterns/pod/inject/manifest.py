"""From a manifest's text to the injected one, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from podpatterns.errors import ConfigError, Problem
from podpatterns.pod.inject import markers
from podpatterns.pod.inject.injection import Injection, Part
from podpatterns.pod.inject.operations import json_patch
from podpatterns.pod.inject.outline import Outline, Unplaceable
from podpatterns.pod.workload import TEMPLATES, Workload, text
from podpatterns.runtime.decode import suggest
from podpatterns.runtime.nodes import MapNode, Mark, parse


@dataclass(frozen=True, slots=True)
class Injected:
    """What an injection gives: the new text, and for each workload `Kind/name` the JSON patch that does the same."""

    source: str
    patches: dict[str, list[dict[str, Any]]]
    injections: dict[str, Injection]
    """For each workload, in case another form is wanted."""


def inject(source: str, parts: Sequence[Part], *, file: str | None = None, only: Sequence[str] = ()) -> Injected:
    """Add containers to the workloads of a manifest; `only` names them, as `shop` or `Deployment/shop`.

    Raises:
        ConfigError: with everything that is in the way; nothing has been changed.
    """
    documents = parse(source, file)
    if markers.marked(source):
        line = source[: source.index(markers.BEGIN)].count("\n") + 1
        raise ConfigError([Mark(file, line).problem("has been injected already; run uninject first")])
    found = {
        index: Workload(document, kind)
        for index, document in enumerate(documents)
        if isinstance(document, MapNode) and (kind := text(document, "kind")) in TEMPLATES
    }
    chosen = _chosen(found, only, file)
    outline = Outline(source, file)
    problems: list[Problem] = []
    splices: list[markers.Splice] = []
    patches: dict[str, list[dict[str, Any]]] = {}
    done: dict[str, Injection] = {}
    for index, workload in chosen.items():
        injection = Injection(workload, parts)
        problems += injection.problems
        if injection.problems:
            continue
        try:
            splices += outline.splices(index, injection.operations)
        except Unplaceable as error:
            problems.append(error.problem)
            continue
        patches[_title(workload)] = json_patch(workload.document.python(), injection.operations)
        done[_title(workload)] = injection
    if problems:
        raise ConfigError(problems)
    return Injected(markers.insert(source, splices), patches, done)


def uninject(source: str, file: str | None = None) -> str:
    """The text as it was before `inject`. Raises ConfigError if there is nothing to take out, or half of it."""
    try:
        original = markers.remove(source)
    except ValueError as error:
        raise ConfigError(
            [Problem(f"{error}; restore the marker, or the file from before inject", file=file)]
        ) from None
    if original == source:
        raise ConfigError([Problem(f'was not injected: there is no "{markers.BEGIN}" in it', file=file)])
    return original


def _title(workload: Workload) -> str:
    return f"{workload.kind}/{text(workload.document, 'metadata.name')}"


def _chosen(found: dict[int, Workload], only: Sequence[str], file: str | None) -> dict[int, Workload]:
    titles = {index: _title(workload) for index, workload in found.items()}
    if not found:
        raise ConfigError([Problem(f"holds no workload; known: {', '.join(TEMPLATES)}", file=file)])
    if not only:
        if len(found) > 1:
            names = ", ".join(titles.values())
            raise ConfigError([Problem(f"holds several workloads: choose with --only ({names})", file=file)])
        return found
    for name in only:
        if not any(name in {title, title.partition("/")[2]} for title in titles.values()):
            near = suggest(name, [*titles.values(), *(title.partition("/")[2] for title in titles.values())])
            raise ConfigError([Problem(f'holds no workload "{name}"{near}', file=file)])
    return {
        index: workload
        for index, workload in found.items()
        if {titles[index], titles[index].partition("/")[2]} & set(only)
    }
