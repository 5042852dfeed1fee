"""`podpatterns pod logs`: what a container has written."""

from __future__ import annotations

import sys

import click

from podpatterns.cli.pod import _target


@click.command("logs", short_help="What a container of a running pod has written.")
@_target.target
@click.option("-f", "--follow", is_flag=True, help="Go on until the container ends.")
@click.option("-p", "--previous", is_flag=True, help="Of the run before the last restart.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="The last N lines only.")
@click.option("--since", metavar="TIME", help="What is not older than this, such as 30s.")
@click.option("--timestamps", is_flag=True, help="The time before each line.")
def command(
    *,
    name: str | None,
    container: str | None,
    pid: int | None,
    follow: bool,
    previous: bool,
    tail: int | None,
    since: str | None,
    timestamps: bool,
) -> None:
    """Print the log of a container: by its name, as POD/CONTAINER, or as POD -c CONTAINER.

    Without a container, of the first main container of the pod.
    """
    from podpatterns.pod import remote, writing
    from podpatterns.runtime.units import Duration

    try:
        seconds = None if since is None else float(Duration(since))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--since") from None
    target = remote.find_one(name, container, pid=pid)
    if target.chosen:
        click.echo(f'the log of "{target.container}"; name another container with -c', err=True)
    asked = {"follow": follow, "previous": previous, "tail": tail, "since": seconds, "timestamps": timestamps}
    with target.asking("logs", **asked) as (_, stream):
        try:
            for line in stream:
                sys.stdout.buffer.write(line)
                if follow:
                    sys.stdout.buffer.flush()
            sys.stdout.buffer.flush()
        except KeyboardInterrupt:
            raise click.exceptions.Exit(130) from None  # as a shell counts it: whoever follows has had enough
        except BrokenPipeError:
            writing.silence(sys.stdout)
