"""Admission reviews (admission.k8s.io/v1): from the API server's question to our answer. Pure.

Whoever has not asked for injection is let through as it came, whatever is wrong with us. Whoever has asked, and cannot
be given what was asked for, is told why.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from podpatterns.pod.inject.injection import ASK, MARK, Injection
from podpatterns.pod.inject.operations import json_patch
from podpatterns.pod.webhook.config import Profiles
from podpatterns.pod.workload import TEMPLATES, Workload
from podpatterns.runtime.decode import suggest
from podpatterns.runtime.nodes import MapNode, from_python

VERSION: Final = "admission.k8s.io/v1"


class Malformed(ValueError):  # noqa: N818 - what the review is
    """Not an admission review; the text says what is missing, for a 400."""


class Question(msgspec.Struct):
    """What we read of a review's request."""

    uid: str
    object: dict[str, Any] | None = None
    operation: str = ""
    namespace: str = ""


class Review(msgspec.Struct, rename="camel"):
    """What we read of a review."""

    api_version: str
    kind: str
    request: Question


@dataclass(frozen=True, slots=True)
class Answer:
    """What we say; `outcome` is for the counter: `injected`, `unasked`, `already`, `unsupported` or `refused`."""

    uid: str
    outcome: str
    message: str = ""
    patch: tuple[dict[str, Any], ...] = ()

    def encode(self) -> bytes:
        """As the API server reads it."""
        response: dict[str, Any] = {"uid": self.uid, "allowed": self.outcome != "refused"}
        if self.outcome == "refused":
            response["status"] = {"code": 422, "reason": "Invalid", "message": self.message}
        elif self.message:
            response["warnings"] = [f"podpatterns: {self.message}"]
        if self.patch:
            response["patchType"] = "JSONPatch"
            response["patch"] = base64.b64encode(msgspec.json.encode(self.patch)).decode()
        return msgspec.json.encode({"apiVersion": VERSION, "kind": "AdmissionReview", "response": response})


def read(body: bytes) -> Question:
    """The question in a request's body. Raises Malformed."""
    try:
        review = msgspec.json.decode(body, type=Review)
    except msgspec.MsgspecError as error:
        raise Malformed(f"not an AdmissionReview: {error}") from None
    if review.kind != "AdmissionReview" or review.api_version != VERSION:
        raise Malformed(f"must be an AdmissionReview of {VERSION}, not a {review.kind} of {review.api_version}")
    if not review.request.uid:
        raise Malformed("request.uid is empty")
    return review.request


def answer(question: Question, profiles: Profiles) -> Answer:
    """What becomes of an object."""
    document = question.object
    if not document:
        return Answer(question.uid, "unasked")
    kind = str(document.get("kind", ""))
    if kind not in TEMPLATES:
        return Answer(question.uid, "unsupported", f"a {kind or 'nameless kind'} holds no pod; nothing was injected")
    node = from_python(document)
    assert isinstance(node, MapNode)
    workload = Workload(node, kind)
    annotations = workload.template.python().get("metadata")
    annotations = annotations.get("annotations") if isinstance(annotations, dict) else None
    asked = annotations.get(ASK) if isinstance(annotations, dict) else None
    if not isinstance(annotations, dict) or not isinstance(asked, str) or not asked.strip():
        return Answer(question.uid, "unasked")
    if MARK in annotations:
        return Answer(question.uid, "already")
    names = [name.strip() for name in asked.split(",") if name.strip()]
    unknown = [name for name in names if name not in profiles]
    if unknown:
        near = suggest(unknown[0], profiles)
        return Answer(question.uid, "refused", f'{ASK}: there is no profile "{unknown[0]}"{near}')
    injection = Injection(workload, [part for name in dict.fromkeys(names) for part in profiles[name]])
    if injection.problems:
        return Answer(question.uid, "refused", "; ".join(str(problem) for problem in injection.problems))
    return Answer(question.uid, "injected", patch=tuple(json_patch(document, injection.operations)))
