"""`podpatterns run`: run the patterns that one or several files configure."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from podpatterns.cli._files import FILE


@click.command("run", short_help="Run what the files configure, until SIGTERM.")
@click.argument("files", nargs=-1, required=True, type=FILE)
def command(files: tuple[Path, ...]) -> None:
    """Run the patterns that FILES configure, in one process, until SIGTERM or SIGINT.

    The first signal drains within `runtime.grace`; a second one ends at once. A change of the files is
    picked up while running.
    """
    with _hidden("rich"):
        import structlog  # noqa: F401 - here, so that what follows finds it without rich

    from podpatterns.runtime import config, process
    from podpatterns.runtime.signals import ended_by_signals

    with ended_by_signals():
        process.run(config.load(files), files)


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Make a package look as if it were not installed.

    structlog imports rich wherever it is installed, for tracebacks that our processes never print; it costs 4 MB and
    50 ms. Images leave rich out; this does the same for everybody who has installed the `pod` extra.
    """
    known = sys.modules.get(package)
    sys.modules[package] = None  # type: ignore[assignment]  # the documented way to make an import fail
    try:
        yield
    finally:
        if known is None:
            del sys.modules[package]
        else:
            sys.modules[package] = known
