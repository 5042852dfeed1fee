"""A pod's containers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podpatterns.pod import images
from podpatterns.pod.building.handlers import Handlers
from podpatterns.pod.building.names import LABEL, bad_name
from podpatterns.pod.building.section import Section
from podpatterns.pod.building.variables import Variables
from podpatterns.pod.building.volumes import Volumes
from podpatterns.pod.model import Container, Kind, RestartRule
from podpatterns.pod.reading import Document


class Containers(Section):
    """Containers of all three kinds."""

    def __init__(self, document: Document, paths: dict[str, str], variables: Variables, volumes: Volumes) -> None:
        super().__init__(document, paths)
        self._variables = variables
        self._volumes = volumes
        self._handlers = Handlers(document, paths)

    def containers(self, spec: Mapping[str, Any], base: str, field: str) -> Iterator[Container]:
        """Those of one list of the pod, in its order."""
        for index, value in enumerate(spec.get(field, ())):
            if not value:
                continue  # not a mapping, which has been said
            path = f"{base}.{field}[{index}]"
            name = value.get("name", "")
            if name and (len(name) > 63 or not LABEL.fullmatch(name)):
                self.fail(f"{path}.name", bad_name(name, 63))
            if name in self.paths:
                self.fail(f"{path}.name", f'"{name}" is the name of another container already ({self.paths[name]})')
            self.paths.setdefault(name, path)
            grace = spec.get("terminationGracePeriodSeconds", 30)
            yield self._container(value, path, name, init=field == "initContainers", grace=grace)

    def _container(self, value: Mapping[str, Any], path: str, name: str, *, init: bool, grace: float) -> Container:
        policy = value.get("restartPolicy")
        kind = Kind.MAIN if not init else Kind.SIDECAR if policy == "Always" else Kind.INIT
        rules = tuple(self._restart_rules(value, path, kind))
        for probe in ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle"):
            if kind is Kind.INIT and probe in value:
                self.fail(
                    f"{path}.{probe}",
                    'cannot be set on an init container that runs to completion; add restartPolicy: "Always"?',
                )
        ports = tuple(self._handlers.ports(value, path))
        image = images.known(value.get("image", ""))
        ours = value.get("command", ["podpatterns"])[:1] == ["podpatterns"]  # and not a shell in an image of ours
        usual = image.admin_port if image is not None and ours else None
        admin = next((port.number for port in ports if port.name == "admin"), usual)
        lifecycle = value.get("lifecycle", {})
        return Container(
            name=name,
            kind=kind,
            image=value.get("image", ""),
            command=self._command(value, path, name, image),
            working_dir=value.get("workingDir"),
            env=tuple(self._variables.env(value, path, name)),
            env_from=tuple(self._variables.env_from(value, path)),
            mounts=tuple(self._volumes.mounts(value, path)),
            ports=ports,
            startup=self._handlers.probe(value, path, "startupProbe", ports),
            liveness=self._handlers.probe(value, path, "livenessProbe", ports),
            readiness=self._handlers.probe(value, path, "readinessProbe", ports),
            post_start=self._handlers.hook(lifecycle, path, "postStart", ports, grace),
            pre_stop=self._handlers.hook(lifecycle, path, "preStop", ports, grace),
            stop_signal=lifecycle.get("stopSignal", "SIGTERM"),
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
            self.fail(f"{path}.restartPolicyRules", "needs a restartPolicy of the container beside it")
        elif given and kind is Kind.SIDECAR:
            self.fail(f"{path}.restartPolicyRules", "has no sense for a sidecar, which is always started again")
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
        if "image" in value:
            self.fail(
                f"{path}.image",
                f'of container "{name}" needs a command beside it: the image "{value["image"]}" does not say what to '
                f"start on this machine; add command: [...] with what the image would run",
            )
        else:
            self.fail(path, f'(container "{name}") has neither command nor image; add command: [...]')
        return ()
