"""A MutatingAdmissionPolicy (Kubernetes 1.36) that does to pods what an injection does, without a server.

The operations become one CEL expression, which makes a JSON patch. CEL's lists and maps hold one kind of value each, so
whatever has fields is written as an `Object` of the type that stands at its path. Source: the Kubernetes documentation
of mutating admission policies, and KEP-3962.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from podpatterns.pod.inject.injection import MARK
from podpatterns.pod.inject.operations import Operation, Path, Prepend, Put

API: Final = "admissionregistration.k8s.io/v1"

_PLAIN_MAPS: Final = frozenset({"annotations", "labels", "limits", "requests", "matchLabels", "nodeSelector"})
"""Fields that are maps with keys of anybody's choice, and have no type of their own."""


def policy(name: str, ask: str, operations: Sequence[Operation], profile: str) -> list[dict[str, Any]]:
    """A policy and its binding: pods whose annotation `ask` names the profile get what the operations add.

    The operations are those on a Pod: their paths begin with `spec` or `metadata`.
    """
    asked = (
        f"has(object.metadata.annotations) && {_text(ask)} in object.metadata.annotations && "
        f"object.metadata.annotations[{_text(ask)}] == {_text(profile)} && "
        f"!({_text(MARK)} in object.metadata.annotations)"
    )
    constraints = {
        "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    }
    return [
        {
            "apiVersion": API,
            "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "reinvocationPolicy": "IfNeeded",
                "matchConstraints": constraints,
                "matchConditions": [{"name": "has-asked", "expression": asked}],
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression(operations)}}],
            },
        },
        {
            "apiVersion": API,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name},
        },
    ]


def expression(operations: Sequence[Operation]) -> str:
    """The operations as a CEL expression, whose value is a list of JSONPatch."""
    return " +\n".join(_patches(operation) for operation in operations) + "\n"


def _patches(operation: Operation) -> str:
    """Makes what a path leads to, where it is not there, and adds to it."""
    place = "object." + ".".join(operation.path)
    pointer = "/" + "/".join(operation.path)
    empty = "Object." + ".".join(operation.path) + "{}" if isinstance(operation, Put) else "[]"
    if operation.path[-1] in _PLAIN_MAPS:
        empty = "{}"
    lines = [f"(has({place}) ? [] : [{_add(pointer, empty)}])"]
    if isinstance(operation, Put):
        lines += [f"[{_add(f'{pointer}/{_key(key)}', value(each, ()))}]" for key, each in operation.values.items()]
    elif isinstance(operation, Prepend):
        lines += [
            f"[{_add(f'{pointer}/{index}', value(item, operation.path))}]" for index, item in enumerate(operation.items)
        ]
    else:
        lines += [f"[{_add(f'{pointer}/-', value(item, operation.path))}]" for item in operation.items]
    return " +\n".join(lines)


def _add(pointer: str, what: str) -> str:
    return f'JSONPatch{{op: "add", path: {_text(pointer)}, value: {what}}}'


def _key(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def value(given: Any, path: Path) -> str:
    """A value as CEL; what has fields as an Object of the type at its path. An item has the type of its list."""
    if isinstance(given, Mapping):
        if path and path[-1] in _PLAIN_MAPS:
            return "{" + ", ".join(f"{_text(key)}: {value(each, ())}" for key, each in given.items()) + "}"
        fields = ", ".join(f"{key}: {value(each, (*path, key))}" for key, each in given.items())
        return f"Object.{'.'.join(path)}{{{fields}}}"
    if isinstance(given, (list, tuple)):
        return "[" + ", ".join(value(each, path) for each in given) + "]"
    if isinstance(given, bool):
        return "true" if given else "false"
    return _text(given) if isinstance(given, str) else str(given)


def _text(given: str) -> str:
    """A CEL string; JSON's escapes are all known there."""
    return json.dumps(given)
