"""`podpatterns pod exec`: run a command in a container."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from podpatterns.cli.pod import _target


class _Exec(click.Command):
    """Everything behind `--` is the command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        place = args.index("--") if "--" in args else len(args)
        ctx.meta["command"] = args[place + 1 :]
        try:
            return super().parse_args(ctx, args[:place])
        except click.UsageError:
            if place == len(args) and len([word for word in args if not word.startswith("-")]) > 1:
                said = "put -- before the command: podpatterns pod exec CONTAINER -- COMMAND"
                raise click.UsageError(said, ctx) from None
            raise

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "-- COMMAND..."]


@click.command("exec", cls=_Exec, short_help="Run a command in a container of a running pod.")
@_target.target
@click.pass_context
def command(ctx: click.Context, *, name: str | None, container: str | None, pid: int | None) -> None:
    """Run COMMAND where a container is: its variables, its directory, its volumes at their paths.

    On a terminal, without a command: a shell. The exit code is the command's.
    """
    from podpatterns.pod import process, remote

    words: list[str] = ctx.meta["command"]
    if not words and not sys.stdin.isatty():
        raise click.UsageError("name the command behind --, such as: podpatterns pod exec CONTAINER -- env", ctx)
    target = remote.find_one(name, container, pid=pid)
    if target.chosen:
        click.echo(f'in "{target.container}"; name another container with -c', err=True)
    plan: dict[str, Any] = target.ask("exec", command=words or ["sh"])["plan"]
    if "TERM" in os.environ:
        plan["env"].setdefault("TERM", os.environ["TERM"])
    try:
        code = process.attached(process.Plan(**plan))
    except process.LaunchFailed as error:
        click.echo(f"podpatterns: {error}", err=True)
        code = 127  # as a shell counts a command that is not there
    raise click.exceptions.Exit(code)
