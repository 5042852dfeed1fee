"""One pod, of a Pod document or of the template of a Job or Deployment."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from podpatterns.pod.building.containers import Containers
from podpatterns.pod.building.section import Section
from podpatterns.pod.building.variables import Variables
from podpatterns.pod.building.volumes import Volumes
from podpatterns.pod.model import Notice, PodSpec
from podpatterns.pod.reading import Document


class PodBuilder(Section):
    """Builds one pod. Problems go to the document; `paths` says where containers, variables and volumes stand."""

    def __init__(self, document: Document, kind: str, name: str, file: str | None) -> None:
        super().__init__(document, {})
        self._kind, self._name, self._file = kind, name, file
        self.notices: list[Notice] = []
        variables = Variables(document, self.paths)
        self._volumes = Volumes(document, self.paths, variables)
        self._containers = Containers(document, self.paths, variables, self._volumes)

    def build(self) -> PodSpec:
        """The pod, as far as it is valid."""
        value = self.document.value
        outer = value.get("spec", {})
        if self._kind == "Pod":
            spec, base, metadata = outer, "spec", value.get("metadata", {})
        else:
            template = outer.get("template", {})
            spec, base = template.get("spec", {}), "spec.template.spec"
            metadata = template.get("metadata", {})
            self._workload(outer, spec, metadata)
        volumes = tuple(self._volumes.volumes(spec, base))
        inits = tuple(self._containers.containers(spec, base, "initContainers"))
        mains = tuple(self._containers.containers(spec, base, "containers"))
        if spec.get("containers") == []:
            self.fail(f"{base}.containers", "is empty; a pod has at least one container")
        job = self._kind == "Job"
        deadlines = [
            self.positive(level, where, "activeDeadlineSeconds", 1, least=least)
            for level, where, least in ((spec, base, 1), (outer if job else {}, "spec", 0))
            if "activeDeadlineSeconds" in level
        ]
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
            grace=self.positive(spec, base, "terminationGracePeriodSeconds", 30, least=0),
            active_deadline=min(deadlines) if deadlines else None,
            backoff_limit=self.positive(outer, "spec", "backoffLimit", 6, least=0) if job else None,
            completions=self.positive(outer, "spec", "completions", 1) if job else 1,
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
            self.fail(where, 'of a Job needs restartPolicy "OnFailure" or "Never": a Job is to end')
        if self._kind == "Deployment":
            if policy != "Always":
                self.fail(where, f'of a Deployment cannot be "{policy}": its pods always restart')
            wanted = outer.get("selector", {}).get("matchLabels", {})
            labels = metadata.get("labels", {})
            for key, text in wanted.items():
                if labels.get(key) != text:
                    self.fail("spec.selector", f'asks for the label "{key}: {text}", which the template does not have')
