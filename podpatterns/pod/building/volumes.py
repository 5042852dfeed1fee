"""A pod's volumes and mounts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podpatterns.pod.building.names import LABEL, bad_name
from podpatterns.pod.building.section import Section
from podpatterns.pod.building.variables import Source, Variables
from podpatterns.pod.environment import Unresolved, quantity
from podpatterns.pod.model import (
    Downward,
    EmptyDir,
    FieldRef,
    HostPath,
    Item,
    Keys,
    Mount,
    Projected,
    ResourceRef,
    Volume,
)
from podpatterns.pod.reading import Document
from podpatterns.runtime.decode import suggest

_SOURCES = ("emptyDir", "hostPath", "configMap", "secret", "downwardAPI", "projected")
_UNAVAILABLE = "its volume cannot be had here; use an emptyDir, a hostPath, a configMap or a secret"


class Volumes(Section):
    """Volumes, and where containers mount them."""

    def __init__(self, document: Document, paths: dict[str, str], variables: Variables) -> None:
        super().__init__(document, paths)
        self._variables = variables

    def mounts(self, value: Mapping[str, Any], path: str) -> Iterator[Mount]:
        """A container's mounts; their volumes have been read before."""
        seen = set()
        for index, mount in enumerate(value.get("volumeMounts", ())):
            here, name, target = f"{path}.volumeMounts[{index}]", mount.get("name", ""), mount.get("mountPath", "")
            if name and f"volume/{name}" not in self.paths:
                known = [key.removeprefix("volume/") for key in self.paths if key.startswith("volume/")]
                self.fail(
                    f"{here}.name", f'names the volume "{name}", which the pod does not have{suggest(name, known)}'
                )
                continue
            if target and (not target.startswith("/") or ":" in target or target.strip("/") == ""):
                self.fail(f"{here}.mountPath", f'must be an absolute path below "/", not "{target}"')
                continue
            target = target.rstrip("/")
            if target in seen:
                self.fail(f"{here}.mountPath", f'"{target}" is the path of another mount already')
            seen.add(target)
            sub, expand = mount.get("subPath", ""), False
            if "subPathExpr" in mount:
                if sub:
                    self.fail(here, "has subPath and subPathExpr; give one of them")
                sub, expand = mount["subPathExpr"], True
            if sub.startswith("/") or ".." in sub.split("/"):
                field = "subPathExpr" if expand else "subPath"
                self.fail(f"{here}.{field}", f'must be a relative path without "..", not "{sub}"')
            if name and target:
                yield Mount(name, target, mount.get("readOnly", False), sub, expand)

    def volumes(self, spec: Mapping[str, Any], base: str) -> Iterator[Volume]:
        """The pod's volumes."""
        for index, value in enumerate(spec.get("volumes", ())):
            path, name = f"{base}.volumes[{index}]", value.get("name", "")
            if name and (len(name) > 63 or not LABEL.fullmatch(name)):
                self.fail(f"{path}.name", bad_name(name, 63))
            if f"volume/{name}" in self.paths:
                self.fail(f"{path}.name", f'"{name}" is the name of another volume already')
            self.paths[f"volume/{name}"] = path
            given = [key for key in value if key != "name"]
            if len(given) == 1 and given[0] not in _SOURCES:
                self.fail(f"{path}.{given[0]}", f"is not available: {_UNAVAILABLE}")
                continue
            kind = self.one_of(value, path, _SOURCES)
            if kind is not None:
                yield Volume(name, self._volume(kind, value[kind], f"{path}.{kind}"))

    def _volume(self, kind: str, value: Mapping[str, Any], path: str) -> EmptyDir | HostPath | Projected:
        mode = value.get("defaultMode", 0o644)
        match kind:
            case "emptyDir":
                return EmptyDir(value.get("medium") == "Memory", self._size(value, f"{path}.sizeLimit"))
            case "hostPath":
                target = value.get("path", "/")
                if not target.startswith("/"):
                    self.fail(f"{path}.path", f'must be an absolute path, not "{target}"')
                return HostPath(target, value.get("type", ""))
            case "projected":
                sources = tuple(
                    self._files(name, source[name], f"{path}.sources[{index}].{name}")
                    for index, source in enumerate(value.get("sources", ()))
                    for name in ("configMap", "secret", "downwardAPI")
                    if name in source
                )
                return Projected(sources, mode)
        return Projected((self._files(kind, value, path),), mode)

    def _size(self, value: Mapping[str, Any], path: str) -> int | None:
        """A sizeLimit in bytes; 0 is none, as to the kubelet."""
        try:
            return int(quantity(value.get("sizeLimit", "0"))) or None
        except Unresolved as error:
            self.fail(path, f"cannot be read: {error}")
            return None

    def _files(self, kind: str, value: Mapping[str, Any], path: str) -> Keys | Downward:
        for index, item in enumerate(value.get("items", ())):
            target = item.get("path", "")
            if target.startswith("/") or ".." in target.split("/"):
                self.fail(f"{path}.items[{index}].path", f'must be a relative path without "..", not "{target}"')
        if kind == "downwardAPI":
            found = []
            for index, item in enumerate(value.get("items", ())):
                here = f"{path}.items[{index}]"
                one = self.one_of(item, here, ("fieldRef", "resourceFieldRef"))
                if one is not None:
                    reference = self._variables.reference({one: item[one]}, here)
                    assert isinstance(reference, (FieldRef, ResourceRef))
                    found.append((item.get("path", ""), reference, item.get("mode")))
            return Downward(tuple(found))
        source: Source = "ConfigMap" if kind == "configMap" else "Secret"
        items = value.get("items")
        chosen = (
            None if items is None else tuple(Item(i.get("key", ""), i.get("path", ""), i.get("mode")) for i in items)
        )
        name = value.get("secretName", value.get("name", ""))
        return Keys(source, name, chosen, value.get("optional", False))
