"""The forms in which an injection is given out, by the name of `--output`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import yaml

from podpatterns.pod.inject.injection import ASK, Part
from podpatterns.pod.inject.kustomize import component
from podpatterns.pod.inject.manifest import Injected
from podpatterns.pod.inject.outline import Dumper
from podpatterns.pod.inject.policy import policy

Form = Callable[[Injected, Sequence[Part], str], Iterator[str]]
"""Yields text; the last argument is the profile's name."""


def manifest(injected: Injected, _parts: Sequence[Part], _profile: str) -> Iterator[str]:
    """The manifest itself."""
    yield injected.source


def patch(injected: Injected, _parts: Sequence[Part], _profile: str) -> Iterator[str]:
    """A JSON patch, for `kubectl patch --type json`."""
    for each in injected.patches.values():
        yield json.dumps(each, indent=2) + "\n"


def admission_policy(injected: Injected, _parts: Sequence[Part], profile: str) -> Iterator[str]:
    """A MutatingAdmissionPolicy with its binding."""
    for injection in injected.injections.values():
        yield _yaml(*policy(f"podpatterns-{profile}", ASK, injection.on_pod, profile))


def kustomize(injected: Injected, parts: Sequence[Part], _profile: str) -> Iterator[str]:
    """The kustomization of a component."""
    for injection in injected.injections.values():
        made = component(injection.kind, injection.version, injection.operations, parts)
        made["patches"] = [{**each, "patch": _yaml(each["patch"])} for each in made["patches"]]
        yield _yaml(made)


def _yaml(*documents: object) -> str:
    return yaml.dump_all(documents, Dumper=Dumper, sort_keys=False, width=120, allow_unicode=True)


FORMS: Final[Mapping[str, Form]] = {
    "yaml": manifest,
    "patch": patch,
    "policy": admission_policy,
    "kustomize": kustomize,
}
