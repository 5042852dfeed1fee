"""A Service."""

from __future__ import annotations

from podpatterns.pod.model import Service, ServicePort
from podpatterns.pod.reading import Document


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
