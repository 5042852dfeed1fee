"""`podpatterns logs replay`: send dead letters once more."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from podpatterns.cli._files import FILE


@click.command("replay", short_help="Send a sidecar's dead letters once more.")
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option(
    "--letters", type=click.Path(dir_okay=False, path_type=Path), help="The file; by default the configuration's."
)
@click.option("--to", metavar="OUTPUT", help="Send all of them to this output, whoever has refused them.")
def command(files: tuple[Path, ...], letters: Path | None, to: str | None) -> None:
    """Send the dead letters of the sidecar in FILES to the outputs that had refused them.

    What is refused again is a dead letter again; exit code 1 says that there is some. The sidecar may be running.
    """
    import asyncio

    from podpatterns.errors import PodpatternsError
    from podpatterns.runtime import config
    from podpatterns.runtime.telemetry import for_process
    from podpatterns.sidecar.config import SidecarConfig
    from podpatterns.sidecar.replay import replay

    pattern = config.load(files).patterns.get("sidecar")
    if not isinstance(pattern, SidecarConfig):
        raise PodpatternsError("the configuration has no sidecar")
    on_terminal = sys.stderr.isatty()
    done = asyncio.run(
        replay(pattern, letters, to, for_process("warning", "auto"), _progress if on_terminal else lambda *_: None)
    )
    if on_terminal:
        click.echo(err=True)
    click.echo(f"{done.delivered} delivered, {done.refused} refused again")
    if done.refused:
        raise SystemExit(1)


def _progress(done: int, total: int, waiting: str) -> None:
    """One line on a terminal, over and over."""
    text = f"{done} of {total}" + (f", waiting for {waiting}" if waiting else "")
    click.echo(f"\r\x1b[K{text[:100]}", nl=False, err=True)
