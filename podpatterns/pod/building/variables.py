"""A container's variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from podpatterns.pod.building.section import Section
from podpatterns.pod.model import EnvFrom, EnvVar, FieldRef, KeyRef, ResourceRef
from podpatterns.runtime.decode import suggest

_FIELD_PATH = re.compile(
    r"metadata\.(name|namespace|uid|labels|annotations|(labels|annotations)\['[^']+'\])"
    r"|spec\.(nodeName|serviceAccountName)|status\.(hostIP|hostIPs|podIP|podIPs)"
)

Source = Literal["ConfigMap", "Secret"]


class Variables(Section):
    """Variables and what they refer to."""

    def env(self, value: Mapping[str, Any], path: str, container: str) -> Iterator[EnvVar]:
        """The entries of env."""
        for index, variable in enumerate(value.get("env", ())):
            here, name = f"{path}.env[{index}]", variable.get("name", "")
            if name and ("=" in name or not name.isprintable()):
                self.fail(
                    f"{here}.name", f'cannot be "{name}": a variable\'s name has printable characters without "="'
                )
            self.paths[f"{container}/env/{name}"] = here
            if "valueFrom" not in variable:
                yield EnvVar(name, variable.get("value", ""))
                continue
            if variable.get("value"):
                self.fail(here, "has value and valueFrom; give one of them")
            if "fileKeyRef" in variable["valueFrom"]:
                continue  # which is reported
            reference = self.reference(variable["valueFrom"], f"{here}.valueFrom")
            if reference is not None:
                yield EnvVar(name, reference)

    def reference(self, value: Mapping[str, Any], path: str) -> KeyRef | FieldRef | ResourceRef | None:
        """What a valueFrom, or an item of the downward API, refers to."""
        kind = self.one_of(value, path, ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"))
        if kind is None:
            return None
        inner = value[kind]
        if kind == "fieldRef":
            return self._field(inner, f"{path}.fieldRef")
        if kind == "resourceFieldRef":
            return ResourceRef(inner.get("resource", ""), inner.get("divisor", "1"), inner.get("containerName"))
        source: Source = "ConfigMap" if kind == "configMapKeyRef" else "Secret"
        return KeyRef(source, inner.get("name", ""), inner.get("key", ""), inner.get("optional", False))

    def _field(self, value: Mapping[str, Any], path: str) -> FieldRef:
        found = value.get("fieldPath", "")
        if found and not _FIELD_PATH.fullmatch(found):
            known = (
                "metadata.name",
                "metadata.namespace",
                "metadata.uid",
                "status.podIP",
                "status.hostIP",
                "spec.nodeName",
            )
            self.fail(f"{path}.fieldPath", f'cannot be "{found}"{suggest(found, known)}')
        return FieldRef(found)

    def env_from(self, value: Mapping[str, Any], path: str) -> Iterator[EnvFrom]:
        """The entries of envFrom."""
        for index, entry in enumerate(value.get("envFrom", ())):
            kind = self.one_of(entry, f"{path}.envFrom[{index}]", ("configMapRef", "secretRef"))
            if kind is not None:
                source: Source = "ConfigMap" if kind == "configMapRef" else "Secret"
                inner = entry[kind]
                yield EnvFrom(source, inner.get("name", ""), entry.get("prefix", ""), inner.get("optional", False))
