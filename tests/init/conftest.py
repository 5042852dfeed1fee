from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from podpatterns.init.events import InitEvents
from podpatterns.init.steps import Step, StepConfig, StepContext
from podpatterns.runtime.telemetry import Telemetry


class Log:
    """Remembers what was logged."""

    def __init__(self) -> None:
        self.levels: list[tuple[str, str, dict[str, Any]]] = []

    @property
    def lines(self) -> list[tuple[str, dict[str, Any]]]:
        return [(event, fields) for _, event, fields in self.levels]

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda event, **fields: self.levels.append((level, event, fields))


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def telemetry(log: Log) -> Telemetry:
    return Telemetry(log)


@pytest.fixture
def step(telemetry: Telemetry) -> Callable[[StepConfig], Step]:
    events = InitEvents(telemetry)

    def build(config: StepConfig) -> Step:
        return config.build(StepContext(config.name or "step", events))

    return build


class Repository:
    """A real repository with a work tree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org",
            "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org",
        }  # fmt: skip
        done = subprocess.run(["git", "-C", str(self.path), *arguments], env=env, check=True, capture_output=True)
        return done.stdout.decode().strip()

    def commit(self, **files: str) -> str:
        for name, content in files.items():
            target = self.path / name.replace("__", "/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "change")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "origin")
