"""`podpatterns pod kill`: send a signal to a container."""

from __future__ import annotations

import signal

import click

from podpatterns.cli.pod import _target

_COMMON = ("KILL", "TERM", "INT", "HUP", "USR1", "STOP", "CONT")


def _signal(_context: click.Context, _parameter: click.Parameter, text: str) -> signal.Signals:
    known = {each.name.removeprefix("SIG"): each for each in signal.Signals}
    wanted = text.upper().removeprefix("SIG")
    if wanted in known:
        return known[wanted]
    if wanted.isdigit() and int(wanted) in {*signal.Signals}:
        return signal.Signals(int(wanted))
    raise click.BadParameter(f'"{text}" is no signal; use a number, or a name such as {", ".join(_COMMON)}')


@click.command("kill", short_help="Send a signal to a container of a running pod.")
@_target.target
@click.option("-s", "--signal", "number", metavar="SIGNAL", default="KILL", show_default=True, callback=_signal,
              help="Its name or number; STOP lets the container hang, CONT go on.")  # fmt: skip
def command(*, name: str | None, container: str | None, pid: int | None, number: signal.Signals) -> None:
    """Send a signal to a container, as if it came from outside: what follows is up to the restart policy.

    STOP and CONT reach everything in the container, other signals its main process.
    """
    from podpatterns.pod import remote

    target = remote.find_one(name, container, pid=pid, default=False)
    target.ask("kill", signal=int(number))
    click.echo(f"{number.name} sent to {target.pod}/{target.container}")
