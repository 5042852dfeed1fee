"""Reading manifests: files → documents → pods, ConfigMaps and Secrets, with every mistake at once.

The order is: YAML and its marks (`runtime.nodes`), keys and shapes (`reading`, by the table in `fields`), then what one
document means by itself (`building`), and here at last what the documents mean together.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from podpatterns.errors import ConfigError, Problem
from podpatterns.pod.building import PodBuilder, build_service, check_name
from podpatterns.pod.fields import ELSEWHERE, KINDS
from podpatterns.pod.model import KeyRef, Keys, Manifest, Notice, PodSpec, Projected, Service
from podpatterns.pod.reading import Document
from podpatterns.runtime.config import PATTERNS, read
from podpatterns.runtime.decode import suggest
from podpatterns.runtime.nodes import KIND, MapNode, Mark, Node, ScalarNode, from_python, parse

Sources = dict[tuple[str, str, str], dict[str, bytes]]


def load(files: Sequence[str | Path], extra: Sequence[str | Path] = ()) -> Manifest:
    """Read manifests from files; of `extra` ones, only ConfigMaps and Secrets are taken.

    Raises:
        ConfigError: with every problem in all the files.
    """
    reader = _Reader([], str(files[0]) if len(files) == 1 else None)
    for path, with_pods in [*((path, True) for path in files), *((path, False) for path in extra)]:
        try:
            documents = parse(read(path), str(path))
        except ConfigError as error:
            reader.problems += error.problems
            reader.complete = False
            continue
        for document in documents:
            reader.read(document, with_pods=with_pods)
    return reader.finish()


def loads(text: str, file: str | None = None) -> Manifest:
    """The same from text."""
    reader = _Reader([], file)
    for document in parse(text, file):
        reader.read(document)
    return reader.finish()


def of(*documents: Mapping[str, Any]) -> Manifest:
    """The same from documents built in Python."""
    reader = _Reader([])
    for document in documents:
        reader.read(from_python(document))
    return reader.finish()


class _Reader:
    """Collects documents, then checks them against each other."""

    def __init__(self, problems: list[Problem], file: str | None = None) -> None:
        self.problems = problems
        self._file = file
        """The one that the pods are to be in, where there is one."""
        self.complete = True
        self._pods: list[tuple[PodSpec, Document, PodBuilder]] = []
        self._sources: Sources = {}
        self._services: list[Service] = []
        self._seen: dict[tuple[str, str, str], Mark] = {}
        self._notices: list[Notice] = []

    def read(self, node: Node, *, with_pods: bool = True) -> None:
        if isinstance(node, ScalarNode) and node.value is None:
            return  # nothing between two `---`
        if not isinstance(node, MapNode):
            self.problems.append(node.mark.problem(f"a document must be a mapping, not {KIND[type(node)]}"))
            return
        kind = self._kind(node)
        if kind is None:
            return
        if not with_pods and kind not in ("ConfigMap", "Secret"):
            self._notices.append(Notice(kind, "only ConfigMaps and Secrets are taken from this file", (node.mark,)))
            return
        version, fields = KINDS[kind]
        document = Document(node, fields)
        given = document.value.get("apiVersion")
        if given not in (None, version):
            document.fail("apiVersion", f'must be "{version}" for a {kind}, not "{given}"')
        metadata = document.value.get("metadata", {})
        name = check_name(document, metadata, generated=kind in ("Pod", "Job", "Deployment"))
        key = (kind, metadata.get("namespace", "default"), name)
        if name and key in self._seen:
            first = self._seen[key]
            document.fail("metadata.name", f'"{name}" is the name of another {kind} already, in line {first.line}')
        self._seen[key] = document.mark("metadata.name")
        if kind == "Service":
            self._services.append(build_service(document, name))
            self._notices += document.notices
        elif kind in ("ConfigMap", "Secret"):
            self._sources[key] = _contents(document, kind)
            self._notices += document.notices
        else:
            builder = PodBuilder(document, kind, name, node.mark.file)
            spec = builder.build()
            self._pods.append((spec, document, builder))
            self._notices += [*document.notices, *builder.notices]
        self.problems += document.problems

    def _kind(self, node: MapNode) -> str | None:
        kind = node.entries.get("kind")
        if kind is None and (found := next((key for key in node.entries if key in PATTERNS), None)):
            said = f'is the configuration of a {found}, not a manifest; "podpatterns run" runs it'
            self.problems.append(node.mark.problem(said))
            return None
        if not isinstance(kind, ScalarNode) or not isinstance(kind.value, str):
            mark = kind.mark if kind else node.mark
            self.problems.append(mark.problem(f"the field kind is required; known: {', '.join(KINDS)}"))
            return None
        if kind.value in ELSEWHERE:
            self._notices.append(Notice(kind.value, "only means something to a cluster", (kind.mark,)))
            return None
        if kind.value == "List":
            self.problems.append(kind.mark.problem("a List is not read; separate its items by lines with ---"))
            return None
        if kind.value not in KINDS:
            self.problems.append(kind.mark.problem(f'unknown kind "{kind.value}"{suggest(kind.value, KINDS)}'))
            return None
        return kind.value

    def finish(self) -> Manifest:
        for spec, document, builder in self._pods:
            if self.complete:
                self._references(spec, document, builder)
        self._names()
        self._ports()
        if not self._pods and not self.problems:
            said = "holds no Pod" if self._file else "no Pod"
            self.problems.append(
                Problem(f"{said}, Job or Deployment to run; give a manifest with one", file=self._file)
            )
        if self.problems:
            raise ConfigError(sorted(set(self.problems), key=lambda p: (p.file or "", p.line or 0, p.column or 0)))
        pods = tuple(spec for spec, _, _ in self._pods)
        return Manifest(pods, self._sources, tuple(self._services), tuple(_merged(self._notices)))

    def _references(self, spec: PodSpec, document: Document, builder: PodBuilder) -> None:
        """Every ConfigMap, Secret and key that is asked for must be in the files."""
        for path, source, name, key in _asked(spec, builder):
            found = self._sources.get((source, spec.namespace, name))
            if found is None:
                known = [other for kind, space, other in self._sources if (kind, space) == (source, spec.namespace)]
                near = suggest(name, known) if known else ""
                self.problems.append(
                    document.mark(path).problem(
                        f'{path}: no {source} "{name}" in these files{near}; add it, or give its file with --with '
                        f"(on a cluster the pod would wait for it for ever)"
                    )
                )
            elif key is not None and key not in found:
                self.problems.append(
                    document.mark(path).problem(
                        f'{path}: the {source} "{name}" has no key "{key}"{suggest(key, found)}'
                    )
                )

    def _names(self) -> None:
        """Pods of one name, which a cluster tells apart by kind or namespace, would share their folders here."""
        seen: dict[str, Mark] = {}
        for spec, document, _ in self._pods:
            mark = document.mark("metadata.name")
            first = seen.setdefault(spec.name, mark)
            if spec.name and first is not mark and not document.problems:
                self.problems.append(
                    mark.problem(
                        f'metadata.name "{spec.name}" is another pod\'s, in line {first.line}; rename one of them'
                    )
                )

    def _ports(self) -> None:
        """The containers of a pod share its network, so a port is one container's."""
        for spec, _, _ in self._pods:
            owners: dict[tuple[str, int], str] = {}
            for container in spec.containers:
                for port in container.ports:
                    first = owners.setdefault((port.protocol, port.number), container.name)
                    if first != container.name:
                        self.problems.append(
                            port.mark.problem(
                                f"port {port.number}/{port.protocol} of container {container.name} is container "
                                f"{first}'s; they share the pod's network, so give one of them another port"
                            )
                        )


def _asked(spec: PodSpec, builder: PodBuilder) -> Iterable[tuple[str, str, str, str | None]]:
    """(path, kind, name, key or None) of everything that is not optional."""
    for container in spec.containers:
        base = builder.paths[container.name]
        for index, variable in enumerate(container.env_from):
            if not variable.optional:
                yield f"{base}.envFrom[{index}]", variable.source, variable.name, None
        for name, value in ((variable.name, variable.value) for variable in container.env):
            if isinstance(value, KeyRef) and not value.optional:
                yield builder.paths[f"{container.name}/env/{name}"], value.source, value.name, value.key
    for volume in spec.volumes:
        if isinstance(volume.source, Projected):
            for source in volume.source.sources:
                if isinstance(source, Keys) and not source.optional:
                    path = builder.paths[f"volume/{volume.name}"]
                    yield path, source.source, source.name, None
                    for item in source.items or ():
                        yield path, source.source, source.name, item.key


def _contents(document: Document, kind: str) -> dict[str, bytes]:
    """What a ConfigMap or Secret holds, as bytes by key."""
    value = document.value
    plain, encoded = ("data", "binaryData") if kind == "ConfigMap" else ("stringData", "data")
    result: dict[str, bytes] = {}
    for key, text in value.get(encoded, {}).items():
        try:
            result[key] = base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            hint = "; put plain text under stringData" if kind == "Secret" else "; put plain text under data"
            document.fail(encoded, f'must hold base64, which "{key}" is not{hint}')
    result.update({key: text.encode() for key, text in value.get(plain, {}).items()})
    for key in result:
        if not key or not all(char.isalnum() or char in "-_." for char in key) or key in (".", ".."):
            document.fail(
                plain, f'has the key "{key}", which cannot be a file name; use letters, digits, "-", "_" and "."'
            )
    return result


def _merged(notices: Iterable[Notice]) -> list[Notice]:
    """One notice for each field, whichever container or document it stands in."""
    found: dict[tuple[str, str, str | None], list[Mark]] = {}
    for notice in notices:
        what = notice.what.replace("spec.template.spec.", "spec.").replace("spec.initContainers[]", "spec.containers[]")
        file = notice.marks[0].file if notice.marks else None
        found.setdefault((what, notice.why, file), []).extend(notice.marks)
    return [Notice(what, why, tuple(marks)) for (what, why, _), marks in found.items()]
