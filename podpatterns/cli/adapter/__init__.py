"""`podpatterns adapter`: look at a running adapter. One file per verb."""

from __future__ import annotations

import click

from podpatterns.cli._verbs import Verbs


@click.group("adapter", cls=Verbs, package=__name__, short_help="Look at a running adapter.")
def command() -> None:
    """Ask the admin endpoint of an adapter in this pod; no curl needed."""
