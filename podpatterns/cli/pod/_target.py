"""How the verbs that look at running pods are told which one is meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

run_option = click.option(
    "--run", "pid", type=int, metavar="PID", help="The process of the `pod run`, where several have such a pod."
)
container_option = click.option("-c", "--container", metavar="NAME", help="The container, where only a pod is named.")
output_option = click.option(
    "-o", "--output", type=click.Choice(["text", "yaml", "json"]), default="text", show_default=True
)


def target(command: F) -> F:
    """[TARGET], -c and --run."""
    return click.argument("name", metavar="[[POD/]CONTAINER]", required=False)(container_option(run_option(command)))


def pods(command: F) -> F:
    """[POD] and --run."""
    return click.argument("name", metavar="[POD[/CONTAINER]]", required=False)(run_option(command))


def dump(value: Any, output: str) -> str:
    """As YAML or JSON, keys in their order."""
    if output == "json":
        import json

        return json.dumps(value, indent=2, ensure_ascii=False)
    import yaml

    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
    return text.rstrip("\n")
