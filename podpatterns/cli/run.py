"""`podpatterns run`: run the patterns that one or several files configure."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("run", short_help="Run what the files configure, until SIGTERM.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def command(files: tuple[Path, ...]) -> None:
    """Run the patterns that FILES configure, in one process, until SIGTERM or SIGINT.

    The first signal drains within `runtime.grace`; a second one ends at once. A change of the files is
    picked up while running.
    """
    from podpatterns.runtime import config, process

    process.run(config.load(files), files)
