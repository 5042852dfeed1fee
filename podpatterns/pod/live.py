"""What the patterns say of themselves while they run: asked at their admin endpoints."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from podpatterns.pod import waiting
from podpatterns.pod.model import LOOPBACK, PodSpec
from podpatterns.pod.runner import PodRunner
from podpatterns.runtime import http_get

LOOK = "podpatterns.dev/look-"
_TIMEOUT = 1.0


async def facts(runners: list[PodRunner]) -> list[tuple[str, Mapping[str, Any]]]:
    """(container, facts) for each container of ours that answers, in the order of the manifest."""
    asked = [
        (container, runner, container.admin_port)
        for runner in runners
        for container in runner.spec.containers
        if container.admin_port is not None and runner.pod.members[container.name].alive
    ]
    answers = await asyncio.gather(*(_ask(runner, port) for _, runner, port in asked))
    return [(container.name, answer) for (container, _, _), answer in zip(asked, answers, strict=True) if answer]


async def _ask(runner: PodRunner, port: int) -> dict[str, Any]:
    try:
        async with asyncio.timeout(_TIMEOUT):
            status, body = await http_get.get(LOOPBACK, port, "/status", body=True, connect=runner.connect)
        patterns = json.loads(body)["patterns"] if status == 200 else {}
        return {name: fact for pattern in patterns.values() for name, fact in pattern.get("facts", {}).items()}
    except (TimeoutError, OSError, http_get.BadAnswer, ValueError, KeyError, AttributeError):
        return {}  # it is starting or ending; the next look is soon


def standing(runner: PodRunner) -> dict[str, Any]:
    """How a pod and each of its containers stand, in words and numbers that go into JSON."""
    pod = runner.pod
    return {
        "pod": pod.spec.name,
        "phase": pod.phase.value,
        "ready": pod.ready,
        "age": round(runner.age, 1),
        "ending": pod.ending,
        "failure": pod.failure,
        "speed": runner.speed,
        "containers": [
            {
                "name": said.container,
                "kind": said.kind.value,
                "state": said.state,
                "why": said.why,
                "held_up": said.held_up,
                "share": None if said.share is None else round(said.share, 3),
                "ready": pod.members[said.container].ready,
                "restarts": pod.members[said.container].restarts,
            }
            for said in waiting.explain(pod, runner.now)
        ],
    }


def where_to_look(spec: PodSpec, paths: Mapping[str, Path], *, after: bool = False) -> list[str]:
    """The pod's own hints, `{volume:NAME}` replaced by the folder; `after` the end, only those with a folder."""
    lines = []
    for key in sorted(spec.annotations):
        text = spec.annotations[key]
        if key.startswith(LOOK) and ("{volume:" in text or not after):
            for name, path in paths.items():
                text = text.replace(f"{{volume:{name}}}", _short(path))
            lines.append(text)
    return lines


def _short(path: Path) -> str:
    """Relative to the working directory if it lies below it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
