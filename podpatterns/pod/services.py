"""Services of the manifests: names and addresses under which pods find each other, and who answers there.

On a cluster, kube-proxy and the DNS do this. Here a Service is a line in each pod's hosts file, the variables that
Kubernetes sets for it, and, where pods have networks of their own, a forwarder that picks a ready pod.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from podpatterns.pod.model import PodSpec, Service, ServicePort


def selected(service: Service, pods: Iterable[PodSpec]) -> list[PodSpec]:
    """The pods that a service is for."""
    return [
        pod
        for pod in pods
        if service.selector
        and pod.namespace == service.namespace
        and all(pod.labels.get(key) == value for key, value in service.selector.items())
    ]


def target(pod: PodSpec, port: ServicePort) -> int | None:
    """The port of a pod that a service's port leads to; None if it names one that the pod does not have."""
    if isinstance(port.target, int):
        return port.target
    for container in pod.containers:
        for known in container.ports:
            if known.name == port.target:
                return known.number
    return None


def variables(pod: PodSpec, services: Iterable[Service]) -> dict[str, str]:
    """`CATALOG_SERVICE_HOST` and the others (Kubernetes: pkg/kubelet/envvars), without those made for Docker links."""
    result: dict[str, str] = {}
    for service in services:
        if service.namespace == pod.namespace and pod.service_links and not service.headless and service.ports:
            name = re.sub(r"[^A-Z0-9]", "_", service.name.upper())
            result[f"{name}_SERVICE_HOST"] = service.address
            result[f"{name}_SERVICE_PORT"] = str(service.ports[0].number)
            for port in service.ports:
                if port.name:
                    suffix = re.sub(r"[^A-Z0-9]", "_", port.name.upper())
                    result[f"{name}_SERVICE_PORT_{suffix}"] = str(port.number)
    return result


def hosts(pod: PodSpec, services: Iterable[Service], pods: Sequence[PodSpec]) -> Iterator[str]:
    """The lines of a pod's hosts file."""
    yield "# Written by podpatterns pod run, as a kubelet does."
    yield "127.0.0.1\tlocalhost"
    yield "::1\tlocalhost ip6-localhost ip6-loopback"
    yield f"{pod.address}\t{pod.hostname}"
    for service in services:
        full = f"{service.name}.{service.namespace}"
        names = [full, f"{full}.svc", f"{full}.svc.cluster.local"]
        if service.namespace == pod.namespace:
            names.insert(0, service.name)
        addresses = [each.address for each in selected(service, pods)] if service.headless else [service.address]
        for address in dict.fromkeys(addresses):
            yield f"{address}\t{' '.join(names)}"
    for address, names_ in pod.host_aliases:
        yield f"{address}\t{' '.join(names_)}"


class Turns:
    """Whose turn it is, among those that can be had."""

    def __init__(self) -> None:
        self._counter = itertools.count()

    def pick(self, ready: Mapping[str, PodSpec]) -> PodSpec | None:
        """The next one; None if there is none."""
        names = list(ready)
        return ready[names[next(self._counter) % len(names)]] if names else None
