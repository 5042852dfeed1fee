"""Asking a running ambassador, found by its configuration file, by --admin, or at the default port."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from podpatterns.cli import _admin
from podpatterns.errors import PodpatternsError

F = TypeVar("F", bound=Callable[..., Any])

DEFAULTS = ("127.0.0.1:9802",)


class Refused(PodpatternsError):  # noqa: N818 - what the endpoint has done
    """The admin endpoint did not do what was asked; the message is its own."""


def admin_option(command: F) -> F:
    """--admin, as for every verb."""
    return click.option(
        "--admin",
        metavar="ADDRESS",
        envvar="PODPATTERNS_ADMIN",
        help="The admin endpoint, host:port. Default: $PODPATTERNS_ADMIN, else port 9802 of this pod.",
    )(command)


def split_options(command: F) -> F:
    """Which split is meant, where several have the versions."""
    for name in ("route", "listener"):
        command = click.option(
            f"--{name}", metavar="NAME", help=f"The {name} that is meant, where several have such a split."
        )(command)
    return admin_option(command)


def ask(admin: str | None, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """The answer's JSON. Raises Unreachable, or Refused with the endpoint's own words."""
    text = None if body is None else json.dumps({name: value for name, value in body.items() if value is not None})
    status, answer = _admin.ask(admin, method, path, timeout=5.0, body=text, defaults=DEFAULTS)
    try:
        data = json.loads(answer)
    except ValueError:
        data = {"error": answer}
    if status == 404:
        raise Refused("the admin endpoint that answers is not that of an ambassador; name another one with --admin")
    if status != 200:
        problem = str(data.get("error", answer))
        for choice in data.get("choice", ()):
            problem += f"\n  --listener {choice['listener']} --route {choice['route']}"
        raise Refused(problem)
    return data
