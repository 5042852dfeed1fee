"""`podpatterns pod explain`: why containers wait."""

from __future__ import annotations

from typing import Any

import click

from podpatterns.cli.pod import _target


@click.command("explain", short_help="Why the containers of a running pod wait.")
@_target.pods
@_target.output_option
def command(*, name: str | None, pid: int | None, output: str) -> None:
    """Say of each container that is not running and ready what it waits for, and until when.

    An init container that has not completed, the postStart of an earlier container, a startup probe, a back-off, a
    ConfigMap that is missing, a sidecar's turn at the end. Times are the pod's own: --speed lets them pass faster.
    """
    from podpatterns.pod import remote

    targets = remote.find(name, pid=pid)
    answers = [target.ask("explain") for target in targets]
    for target, answer in zip(targets, answers, strict=True):
        answer["containers"] = [each for each in answer["containers"] if target.container in (None, each["name"])]
    if output != "text":
        click.echo(_target.dump(answers, output))
        return
    for answer in answers:
        _show(answer)


def _show(answer: dict[str, Any]) -> None:
    held_up = [each for each in answer["containers"] if each["held_up"]]
    state = f"ending: {answer['ending']}" if answer["ending"] else answer["phase"]
    click.echo(f"{click.style(answer['pod'], bold=True)} is {state}, after {answer['age']:.0f} s")
    width = max((len(each["name"]) for each in held_up), default=0)
    for each in held_up:
        click.echo(f"  {each['name']:<{width}}  {click.style(each['state'], fg='yellow')}: {each['why']}")
    if not held_up:
        all_of_them = "every container" if len(answer["containers"]) > 1 else answer["containers"][0]["name"]
        click.echo(f"  nothing is waited for: {all_of_them} has completed, or is running and ready")
