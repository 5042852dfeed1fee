"""Annotations and labels: they must stand where somebody looks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from podpatterns.pod.lint.finding import Found, Rule, Severity
from podpatterns.pod.workload import TEMPLATES, Workload, mapping, value

FOR_PODS = re.compile(
    r"(?:podpatterns\.dev|sidecar\.istio\.io|linkerd\.io|config\.linkerd\.io|prometheus\.io|vault\.hashicorp\.com"
    r"|dapr\.io|container\.apparmor\.security\.beta\.kubernetes\.io|kubectl\.kubernetes\.io/default-"
    r"|cluster-autoscaler\.kubernetes\.io/safe-to-evict|traffic\.sidecar\.istio\.io|proxy\.istio\.io).*"
)
"""Annotations that are read from pods alone."""


def annotation_on_workload(workload: Workload) -> Iterator[Found]:
    """What concerns pods stands in the template's metadata."""
    path = TEMPLATES[workload.kind]
    if not path:
        return
    own = mapping(workload.document, "metadata.annotations")
    below = mapping(workload.template, "metadata.annotations")
    for key, mark in own.keys.items():
        if FOR_PODS.fullmatch(key) and key not in below.entries:
            yield Found(
                mark,
                f"the annotation {key} stands on the {workload.kind}, and is read from its pods",
                f"move it to {path}.metadata.annotations",
            )


def selector_mismatch(workload: Workload) -> Iterator[Found]:
    """A workload finds its pods by their labels."""
    wanted = mapping(workload.document, "spec.selector.matchLabels")
    labels = mapping(workload.template, "metadata.labels")
    for key, node in wanted.entries.items():
        if workload.kind not in {"Job", "CronJob"} and value(node) is not None:
            given = labels.entries.get(key)
            if value(given) != value(node):
                yield Found(
                    node.mark,
                    f"the selector wants {key}: {value(node)}, and the template's labels do not have it",
                    f"add it to {TEMPLATES[workload.kind]}.metadata.labels",
                )


RULES = (
    Rule(
        "annotation-on-workload",
        Severity.WARNING,
        "It is silently without effect.",
        annotation_on_workload,
    ),
    Rule("selector-mismatch", Severity.ERROR, "The API server refuses the workload.", selector_mismatch),
)
