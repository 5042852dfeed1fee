"""`podpatterns explain`: what would be done with a sample request, line or metric."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from podpatterns.cli._files import FILE
from podpatterns.errors import ConfigError, Problem

if TYPE_CHECKING:
    from podpatterns.runtime.config import PatternConfig


@click.command("explain", short_help="Say what would be done with a sample request, line or metric.")
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--sample", type=click.File("rb"), help="The sample: a file, or - for standard input.")
@click.option(
    "--input", "source", metavar="NAME", help="The input that it is for: its name, its type, or its place, inputs[0]."
)
def command(files: tuple[Path, ...], sample: IO[bytes] | None, source: str | None) -> None:
    """Say what the patterns in FILES would do with a sample, step by step and with the reasons; nothing is sent.

    The sample of a sidecar is log lines, of an ambassador a request head. That of an adapter is whatever its inputs
    take: lines, a page, a request's body, a pickle; the input is found by trying, unless it is named.
    """
    from podpatterns.runtime import config

    text = sample.read().decode("utf-8", "surrogateescape") if sample is not None else None
    patterns = config.load(files).patterns
    if source is not None:
        patterns = _with_input(patterns, source)
    for name, pattern in patterns.items():
        if len(patterns) > 1:
            click.echo(f"# {name}")
        for line in pattern.explain(text):
            click.echo(line)


def _with_input(patterns: Mapping[str, PatternConfig], source: str) -> Mapping[str, PatternConfig]:
    """The patterns that have an input of that name, with it alone. Raises ConfigError where there is none."""
    found = {name: pattern.with_input(source) for name, pattern in patterns.items()}
    chosen = {name: pattern for name, pattern in found.items() if pattern is not None}
    if not chosen:
        raise ConfigError([Problem(f'there is no input "{source}"; name one by its name, type or place, inputs[0]')])
    return chosen
