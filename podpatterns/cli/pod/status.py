"""`podpatterns pod status`: how running pods are."""

from __future__ import annotations

from typing import Any

import click

from podpatterns.cli.pod import _target


@click.command("status", short_help="How running pods are, also as Kubernetes writes it.")
@_target.pods
@_target.output_option
def command(*, name: str | None, pid: int | None, output: str) -> None:
    """Show the pods that run on this machine, with the state of each container.

    With -o yaml or json, as `kubectl get pod` does: a Pod with its metadata and status, or a List of several.
    """
    from podpatterns.pod import remote

    targets = remote.find(name, pid=pid)
    if output != "text":
        documents = [target.ask("status")["document"] for target in targets]
        several = {"apiVersion": "v1", "kind": "List", "items": documents}
        click.echo(_target.dump(documents[0] if len(documents) == 1 else several, output))
        return
    for index, target in enumerate(targets):
        if index:
            click.echo()
        for line in _lines(target.ask("explain"), target.run.pid, target.container):
            click.echo(line)


_COLOURS = {"completed": "green", "running and ready": "green"}


def _lines(said: dict[str, Any], pid: int, only: str | None) -> list[str]:
    containers = [each for each in said["containers"] if only in (None, each["name"])]
    lasting = [each for each in said["containers"] if each["kind"] != "init"]
    ready = sum(each["ready"] for each in lasting)
    phase = "Terminating" if said["ending"] else said["phase"]
    speed = f", {said['speed']:g} times as fast" if said["speed"] != 1 else ""
    head = f"{ready}/{len(lasting)} ready, for {said['age']:.0f} s{speed}; process {pid}"
    lines = [f"{click.style(said['pod'], bold=True)}  {click.style(phase, fg=_phase_colour(phase))}  {head}"]
    if said["failure"] or said["ending"]:
        lines.append(f"  {said['failure'] or said['ending']}")
    width = max(len(each["name"]) for each in containers)
    for each in containers:
        colour = _COLOURS.get(each["state"], "yellow" if each["held_up"] else "")
        state = click.style(each["state"], fg=colour) if colour else each["state"]
        times = f", {each['restarts']} restart{'s' if each['restarts'] != 1 else ''}" if each["restarts"] else ""
        why = f": {each['why']}" if each["why"] else ""
        lines.append(f"  {each['kind']:<7}  {each['name']:<{width}}  {state}{times}{why}")
    return lines


def _phase_colour(phase: str) -> str:
    return {"Running": "green", "Succeeded": "green", "Failed": "red"}.get(phase, "yellow")
