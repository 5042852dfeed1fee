"""From the checked values of one document to a `PodSpec`: names, references inside the pod, defaults.

Rules are the API server's own (validation.go of Kubernetes' core group), as far as they concern what is run here.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from podpatterns.pod import images
from podpatterns.pod.environment import Unresolved, quantity
from podpatterns.pod.model import (
    Container,
    Downward,
    EmptyDir,
    EnvFrom,
    EnvVar,
    Exec,
    FieldRef,
    Grpc,
    Handler,
    HostPath,
    HttpGet,
    Item,
    KeyRef,
    Keys,
    Kind,
    Mount,
    Notice,
    PodSpec,
    Port,
    Probe,
    Projected,
    ResourceRef,
    RestartRule,
    Service,
    ServicePort,
    Sleep,
    TcpSocket,
    Volume,
)
from podpatterns.pod.reading import Document
from podpatterns.runtime.decode import suggest

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_FIELD_PATH = re.compile(
    r"metadata\.(name|namespace|uid|labels|annotations|(labels|annotations)\['[^']+'\])"
    r"|spec\.(nodeName|serviceAccountName)|status\.(hostIP|hostIPs|podIP|podIPs)"
)
_SOURCES = ("emptyDir", "hostPath", "configMap", "secret", "downwardAPI", "projected")
_UNAVAILABLE = "its volume cannot be had here; use an emptyDir, a hostPath, a configMap or a secret"

Source = Literal["ConfigMap", "Secret"]


def check_name(document: Document, metadata: Mapping[str, Any], *, generated: bool = False) -> str:
    """The document's name, checked; empty if there is none."""
    name = str(metadata.get("name", ""))
    if not name and generated and metadata.get("generateName"):
        name = f"{str(metadata['generateName']).rstrip('-')}-local"
    if not name:
        if "metadata" in document.value and "name" not in metadata:
            document.fail("metadata", 'needs the field "name"')
    elif len(name) > 253 or not _SUBDOMAIN.fullmatch(name):
        document.fail("metadata.name", _bad_name(name, 253, "and dots"))
    return name


def _bad_name(name: str, limit: int, more: str = "") -> str:
    if len(name) > limit:
        return f"is longer than {limit} characters"
    better = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    hint = f'; did you mean "{better}"?' if better and better != name else ""
    allowed = f"lower-case letters, digits and hyphens{' ' + more if more else ''}"
    return f'cannot be "{name}": a name has {allowed}, and begins and ends with a letter or digit{hint}'


def build_service(document: Document, name: str) -> Service:
    """A service; problems go to the document."""
    value = document.value
    spec = value.get("spec", {})
    ports = []
    for index, port in enumerate(spec.get("ports", ())):
        number = port.get("port", 0)
        if not 1 <= number <= 65535:
            document.fail(f"spec.ports[{index}].port", f"must be between 1 and 65535, not {number}")
        target = port.get("targetPort", number)
        target = int(target) if isinstance(target, str) and target.isascii() and target.isdigit() else target
        ports.append(ServicePort(number, target, port.get("name", ""), document.mark(f"spec.ports[{index}]")))
    namespace = value.get("metadata", {}).get("namespace", "default")
    return Service(name, namespace, spec.get("selector", {}), tuple(ports), spec.get("clusterIP") == "None")


class PodBuilder:
    """Builds one pod. Problems go to the document; `paths` says where containers, variables and volumes stand."""

    def __init__(self, document: Document, kind: str, name: str, file: str | None) -> None:
        self._document = document
        self._kind, self._name, self._file = kind, name, file
        self.paths: dict[str, str] = {}
        self.notices: list[Notice] = []
        self._fail = document.fail

    def build(self) -> PodSpec:
        """The pod, as far as it is valid."""
        value = self._document.value
        outer = value.get("spec", {})
        if self._kind == "Pod":
            spec, base, metadata = outer, "spec", value.get("metadata", {})
        else:
            template = outer.get("template", {})
            spec, base = template.get("spec", {}), "spec.template.spec"
            metadata = template.get("metadata", {})
            self._workload(outer, spec, metadata)
        volumes = tuple(self._volumes(spec, base))
        inits = tuple(self._containers(spec, base, "initContainers"))
        mains = tuple(self._containers(spec, base, "containers"))
        if spec.get("containers") == []:
            self._fail(f"{base}.containers", "is empty; a pod has at least one container")
        deadlines = [
            d for d in (spec.get("activeDeadlineSeconds"), outer.get("activeDeadlineSeconds")) if d is not None
        ]
        job = self._kind == "Job"
        return PodSpec(
            name=self._name,
            mains=mains,
            inits=inits,
            namespace=value.get("metadata", {}).get("namespace", "default"),
            uid=str(uuid.uuid4()),
            owner=self._kind,
            labels=metadata.get("labels", {}),
            annotations=metadata.get("annotations", {}),
            restart_policy=spec.get("restartPolicy", "Always"),
            grace=self._positive(spec, base, "terminationGracePeriodSeconds", 30, least=0),
            active_deadline=min(deadlines) if deadlines else None,
            backoff_limit=outer.get("backoffLimit", 6) if job else None,
            completions=self._positive(outer, "spec", "completions", 1) if job else 1,
            volumes=volumes,
            hostname=spec.get("hostnameOverride") or spec.get("hostname", self._name.partition(".")[0]),
            host_network=spec.get("hostNetwork", False),
            host_processes=spec.get("hostPID", False),
            share_processes=spec.get("shareProcessNamespace", False),
            service_links=spec.get("enableServiceLinks", True),
            host_aliases=tuple(
                (alias.get("ip", ""), tuple(alias.get("hostnames", ()))) for alias in spec.get("hostAliases", ())
            ),
            service_account=spec.get("serviceAccountName", spec.get("serviceAccount", "default")),
            node=spec.get("nodeName", ""),
            file=self._file,
        )

    def _workload(self, outer: Mapping[str, Any], spec: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        policy = spec.get("restartPolicy", "Always")
        where = "spec.template.spec" + (".restartPolicy" if "restartPolicy" in spec else "")
        if self._kind == "Job" and policy == "Always":
            self._fail(where, 'of a Job needs restartPolicy "OnFailure" or "Never": a Job is to end')
        if self._kind == "Deployment":
            if policy != "Always":
                self._fail(where, f'of a Deployment cannot be "{policy}": its pods always restart')
            wanted = outer.get("selector", {}).get("matchLabels", {})
            labels = metadata.get("labels", {})
            for key, text in wanted.items():
                if labels.get(key) != text:
                    self._fail("spec.selector", f'asks for the label "{key}: {text}", which the template does not have')

    def _positive(self, value: Mapping[str, Any], base: str, name: str, default: int, *, least: int = 1) -> int:
        found = value.get(name, default)
        if found < least:
            self._fail(f"{base}.{name}", f"must be at least {least}, not {found}")
            return default
        return int(found)

    # --- containers -----------------------------------------------------------------------------------------------

    def _containers(self, spec: Mapping[str, Any], base: str, field: str) -> Iterator[Container]:
        for index, value in enumerate(spec.get(field, ())):
            if not value:
                continue  # not a mapping, which has been said
            path = f"{base}.{field}[{index}]"
            name = value.get("name", "")
            if name and (len(name) > 63 or not _LABEL.fullmatch(name)):
                self._fail(f"{path}.name", _bad_name(name, 63))
            if name in self.paths:
                self._fail(f"{path}.name", f'"{name}" is the name of another container already ({self.paths[name]})')
            self.paths.setdefault(name, path)
            yield self._container(value, path, name, init=field == "initContainers")

    def _container(self, value: Mapping[str, Any], path: str, name: str, *, init: bool) -> Container:
        policy = value.get("restartPolicy")
        kind = Kind.MAIN if not init else Kind.SIDECAR if policy == "Always" else Kind.INIT
        rules = tuple(self._restart_rules(value, path, kind))
        for probe in ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle"):
            if kind is Kind.INIT and probe in value:
                self._fail(
                    f"{path}.{probe}",
                    'cannot be set on an init container that runs to completion; add restartPolicy: "Always"?',
                )
        ports = tuple(self._ports(value, path))
        image = images.known(value.get("image", ""))
        admin = next((port.number for port in ports if port.name == "admin"), image.admin_port if image else None)
        lifecycle = value.get("lifecycle", {})
        return Container(
            name=name,
            kind=kind,
            image=value.get("image", ""),
            command=self._command(value, path, name, image),
            working_dir=value.get("workingDir"),
            env=tuple(self._env(value, path, name)),
            env_from=tuple(self._env_from(value, path)),
            mounts=tuple(self._mounts(value, path)),
            ports=ports,
            startup=self._probe(value, path, "startupProbe", ports),
            liveness=self._probe(value, path, "livenessProbe", ports),
            readiness=self._probe(value, path, "readinessProbe", ports),
            post_start=self._handler(lifecycle.get("postStart"), f"{path}.lifecycle.postStart", ports),
            stop_signal=lifecycle.get("stopSignal", "SIGTERM"),
            pre_stop=self._handler(lifecycle.get("preStop"), f"{path}.lifecycle.preStop", ports),
            restart_policy=policy if kind is not Kind.SIDECAR else None,
            restart_rules=rules,
            termination_path=value.get("terminationMessagePath", "/dev/termination-log"),
            logs_on_error=value.get("terminationMessagePolicy") == "FallbackToLogsOnError",
            resources={
                f"{part}.{key}": text
                for part in ("requests", "limits")
                for key, text in value.get("resources", {}).get(part, {}).items()
            },
            pattern=image.pattern if image else None,
            admin_port=admin if image else None,
        )

    def _restart_rules(self, value: Mapping[str, Any], path: str, kind: Kind) -> Iterator[RestartRule]:
        given = value.get("restartPolicyRules", ())
        if given and "restartPolicy" not in value:
            self._fail(f"{path}.restartPolicyRules", "needs a restartPolicy of the container beside it")
        elif given and kind is Kind.SIDECAR:
            self._fail(f"{path}.restartPolicyRules", "has no sense for a sidecar, which is always started again")
        for rule in given:
            codes = rule.get("exitCodes", {})
            yield RestartRule(frozenset(codes.get("values", ())), codes.get("operator", "In") == "In")

    def _command(self, value: Mapping[str, Any], path: str, name: str, image: images.Image | None) -> tuple[str, ...]:
        command, args = value.get("command"), value.get("args")
        if command:
            # As in Kubernetes, `command` replaces the image's ENTRYPOINT and drops its CMD; `args` replaces CMD alone.
            if image is not None and command[0] == "podpatterns":
                command = [*image.entrypoint, *command[1:]]
            return (*command, *(args or ()))
        if image is not None:
            return (*image.entrypoint, *(args if args is not None else image.command))
        given = f'the image "{value["image"]}"' if "image" in value else "no image"
        where = f"{path}.image" if "image" in value else path
        self._fail(
            where,
            f'of container "{name}" needs a command beside it: {given} does not say what to start on this machine; '
            f"add command: [...] with what the image would run",
        )
        return ()

    def _ports(self, value: Mapping[str, Any], path: str) -> Iterator[Port]:
        names = set()
        for index, port in enumerate(value.get("ports", ())):
            here = f"{path}.ports[{index}]"
            number, name = port.get("containerPort"), port.get("name", "")
            if number is None:
                continue
            if not 1 <= number <= 65535:
                self._fail(f"{here}.containerPort", f"must be between 1 and 65535, not {number}")
                continue
            if name and (len(name) > 15 or not _LABEL.fullmatch(name)):
                self._fail(f"{here}.name", _bad_name(name, 15))
            if name and name in names:
                self._fail(f"{here}.name", f'"{name}" is the name of another port of this container')
            names.add(name)
            mark = self._document.mark(f"{here}.containerPort")
            yield Port(number, name, port.get("protocol", "TCP"), port.get("hostPort"), port.get("hostIP", ""), mark)

    def _one_of(self, value: Mapping[str, Any], path: str, names: tuple[str, ...]) -> str | None:
        found = [name for name in names if name in value]
        if len(found) != 1:
            said = f"has {' and '.join(found)}" if found else "is empty"
            self._fail(path, f"{said}; give exactly one of {', '.join(names)}")
        return found[0] if found else None

    def _probe(self, value: Mapping[str, Any], path: str, field: str, ports: tuple[Port, ...]) -> Probe | None:
        probe, here = value.get(field), f"{path}.{field}"
        if probe is None:
            return None
        handler = self._handler(probe, here, ports, ("exec", "httpGet", "tcpSocket", "grpc"))
        success = self._positive(probe, here, "successThreshold", 1)
        if success != 1 and field != "readinessProbe":
            self._fail(f"{here}.successThreshold", "must be 1 for liveness and startup")
        grace = probe.get("terminationGracePeriodSeconds")
        if grace is not None and field == "readinessProbe":
            self._fail(f"{here}.terminationGracePeriodSeconds", "cannot be set for readiness, which ends nothing")
        return Probe(
            handler or TcpSocket(0),
            initial_delay=self._positive(probe, here, "initialDelaySeconds", 0, least=0),
            timeout=self._positive(probe, here, "timeoutSeconds", 1),
            period=self._positive(probe, here, "periodSeconds", 10),
            success=success,
            failure=self._positive(probe, here, "failureThreshold", 3),
            grace=grace,
        )

    def _handler(
        self,
        value: Mapping[str, Any] | None,
        path: str,
        ports: tuple[Port, ...],
        names: tuple[str, ...] = ("exec", "httpGet", "tcpSocket", "sleep"),
    ) -> Handler | None:
        if value is None:
            return None
        kind = self._one_of(value, path, names)
        if kind is None:
            return None
        inner, here = value[kind], f"{path}.{kind}"
        match kind:
            case "exec":
                if not inner.get("command"):
                    self._fail(here, 'needs the field "command"')
                return Exec(tuple(inner.get("command", ())))
            case "grpc":
                return Grpc(self._port(inner, here, ()), inner.get("service", ""))
            case "sleep":
                return Sleep(inner.get("seconds", 0))
            case "httpGet":
                headers = tuple((h.get("name", ""), h.get("value", "")) for h in inner.get("httpHeaders", ()))
                target = inner.get("path", "/")
                port = self._port(inner, here, ports)
                scheme = inner.get("scheme", "HTTP")
                return HttpGet(
                    port, target if target.startswith("/") else f"/{target}", inner.get("host"), scheme, headers
                )
        return TcpSocket(self._port(inner, here, ports), inner.get("host"))

    def _port(self, value: Mapping[str, Any], path: str, ports: tuple[Port, ...]) -> int:
        port = value.get("port", 1)
        if isinstance(port, str) and port.isascii() and port.isdigit():
            port = int(port)
        if isinstance(port, int):
            if not 1 <= port <= 65535:
                self._fail(f"{path}.port", f"must be between 1 and 65535, not {port}")
            return port
        for known in ports:
            if known.name == port:
                return known.number
        names = [known.name for known in ports if known.name]
        self._fail(f"{path}.port", f'names the port "{port}", which the container does not have{suggest(port, names)}')
        return 1

    # --- environment ----------------------------------------------------------------------------------------------

    def _env(self, value: Mapping[str, Any], path: str, container: str) -> Iterator[EnvVar]:
        for index, variable in enumerate(value.get("env", ())):
            here, name = f"{path}.env[{index}]", variable.get("name", "")
            if name and ("=" in name or not name.isprintable()):
                self._fail(
                    f"{here}.name", f'cannot be "{name}": a variable\'s name has printable characters without "="'
                )
            self.paths[f"{container}/env/{name}"] = here
            if "valueFrom" not in variable:
                yield EnvVar(name, variable.get("value", ""))
                continue
            if variable.get("value"):
                self._fail(here, "has value and valueFrom; give one of them")
            if "fileKeyRef" in variable["valueFrom"]:
                continue  # which is reported
            reference = self._reference(variable["valueFrom"], f"{here}.valueFrom")
            if reference is not None:
                yield EnvVar(name, reference)

    def _reference(self, value: Mapping[str, Any], path: str) -> KeyRef | FieldRef | ResourceRef | None:
        kind = self._one_of(value, path, ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"))
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
            self._fail(f"{path}.fieldPath", f'cannot be "{found}"{suggest(found, known)}')
        return FieldRef(found)

    def _env_from(self, value: Mapping[str, Any], path: str) -> Iterator[EnvFrom]:
        for index, entry in enumerate(value.get("envFrom", ())):
            kind = self._one_of(entry, f"{path}.envFrom[{index}]", ("configMapRef", "secretRef"))
            if kind is not None:
                source: Source = "ConfigMap" if kind == "configMapRef" else "Secret"
                inner = entry[kind]
                yield EnvFrom(source, inner.get("name", ""), entry.get("prefix", ""), inner.get("optional", False))

    # --- volumes --------------------------------------------------------------------------------------------------

    def _mounts(self, value: Mapping[str, Any], path: str) -> Iterator[Mount]:
        seen = set()
        for index, mount in enumerate(value.get("volumeMounts", ())):
            here, name, target = f"{path}.volumeMounts[{index}]", mount.get("name", ""), mount.get("mountPath", "")
            if name and f"volume/{name}" not in self.paths:
                known = [key.removeprefix("volume/") for key in self.paths if key.startswith("volume/")]
                self._fail(
                    f"{here}.name", f'names the volume "{name}", which the pod does not have{suggest(name, known)}'
                )
                continue
            if target and (not target.startswith("/") or ":" in target or target.strip("/") == ""):
                self._fail(f"{here}.mountPath", f'must be an absolute path below "/", not "{target}"')
                continue
            target = target.rstrip("/")
            if target in seen:
                self._fail(f"{here}.mountPath", f'"{target}" is the path of another mount already')
            seen.add(target)
            sub, expand = mount.get("subPath", ""), False
            if "subPathExpr" in mount:
                if sub:
                    self._fail(here, "has subPath and subPathExpr; give one of them")
                sub, expand = mount["subPathExpr"], True
            if sub.startswith("/") or ".." in sub.split("/"):
                field = "subPathExpr" if expand else "subPath"
                self._fail(f"{here}.{field}", f'must be a relative path without "..", not "{sub}"')
            if name and target:
                yield Mount(name, target, mount.get("readOnly", False), sub, expand)

    def _volumes(self, spec: Mapping[str, Any], base: str) -> Iterator[Volume]:
        for index, value in enumerate(spec.get("volumes", ())):
            path, name = f"{base}.volumes[{index}]", value.get("name", "")
            if name and (len(name) > 63 or not _LABEL.fullmatch(name)):
                self._fail(f"{path}.name", _bad_name(name, 63))
            if f"volume/{name}" in self.paths:
                self._fail(f"{path}.name", f'"{name}" is the name of another volume already')
            self.paths[f"volume/{name}"] = path
            given = [key for key in value if key != "name"]
            if len(given) == 1 and given[0] not in _SOURCES:
                self._fail(f"{path}.{given[0]}", f"is not available: {_UNAVAILABLE}")
                continue
            kind = self._one_of(value, path, _SOURCES)
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
                    self._fail(f"{path}.path", f'must be an absolute path, not "{target}"')
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
            self._fail(path, f"cannot be read: {error}")
            return None

    def _files(self, kind: str, value: Mapping[str, Any], path: str) -> Keys | Downward:
        for index, item in enumerate(value.get("items", ())):
            target = item.get("path", "")
            if target.startswith("/") or ".." in target.split("/"):
                self._fail(f"{path}.items[{index}].path", f'must be a relative path without "..", not "{target}"')
        if kind == "downwardAPI":
            found = []
            for index, item in enumerate(value.get("items", ())):
                here = f"{path}.items[{index}]"
                one = self._one_of(item, here, ("fieldRef", "resourceFieldRef"))
                if one is not None:
                    reference = self._reference({one: item[one]}, here)
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
