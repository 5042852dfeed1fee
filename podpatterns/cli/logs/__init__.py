"""`podpatterns logs`: look at what a sidecar has shipped. One file per verb."""

from __future__ import annotations

import click

from podpatterns.cli._verbs import Verbs


@click.group("logs", cls=Verbs, package=__name__, short_help="Query the logs that a sidecar has stored.")
def command() -> None:
    """Look at what a sidecar has shipped."""
