"""`podpatterns explain`: what would be done with a sample request, line or metric."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import click


@click.command("explain", short_help="Say what would be done with a sample request, line or metric.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--sample", type=click.File("r", encoding="utf-8"), help="The sample: a file, or - for standard input.")
def command(files: tuple[Path, ...], sample: IO[str] | None) -> None:
    """Say what the patterns in FILES would do with a sample, step by step and with the reasons; nothing is sent.

    The sample of a sidecar is log lines, of an ambassador a request head, of an adapter lines or a page of metrics.
    """
    from podpatterns.runtime import config

    text = sample.read() if sample is not None else None
    loaded = config.load(files)
    for name, pattern in loaded.patterns.items():
        if len(loaded.patterns) > 1:
            click.echo(f"# {name}")
        for line in pattern.explain(text):
            click.echo(line)
