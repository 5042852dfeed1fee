"""A kustomize component that does what an injection does: to be listed in any kustomization whose workload fits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from podpatterns.pod.inject.injection import MARK, Part
from podpatterns.pod.inject.operations import Operation, apply


def component(kind: str, version: str, operations: Sequence[Operation], parts: Sequence[Part]) -> dict[str, Any]:
    """The content of its `kustomization.yaml`: a strategic merge patch for every workload of a kind.

    ConfigMaps that parts refer to are generated from the configurations, which lie beside it; the hash in their names
    makes each change a rollout.
    """
    patch = apply({"apiVersion": version, "kind": kind, "metadata": {"name": "any"}}, operations)
    # Several components meet in one workload: what each has added is said by its containers.
    annotations = [each for each in operations if MARK in getattr(each, "values", ())]
    for operation in annotations:
        _without(patch, operation.path)
    maps: dict[str, list[str]] = {}
    for part in parts:
        if part.options.config_map is not None:
            maps.setdefault(part.options.config_map, []).append(PurePath(part.file).name)
    generated = [{"name": name, "files": files} for name, files in maps.items()]
    return {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        **({"configMapGenerator": generated} if generated else {}),
        "patches": [{"target": {"kind": kind}, "patch": patch}],
    }


def _without(document: dict[str, Any], path: Sequence[str]) -> None:
    """Remove what stands at a path, and what is empty without it."""
    for depth in range(len(path), 0, -1):
        parent = document
        for key in path[: depth - 1]:
            parent = parent[key]
        if depth == len(path) or not parent[path[depth - 1]]:
            del parent[path[depth - 1]]
