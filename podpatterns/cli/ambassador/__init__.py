"""`podpatterns ambassador`: look at a running ambassador, and steer it. One file per verb."""

from __future__ import annotations

import click

from podpatterns.cli._verbs import Verbs


@click.group("ambassador", cls=Verbs, package=__name__, short_help="Look at a running ambassador, and steer it.")
def command() -> None:
    """Ask the admin endpoint of an ambassador in this pod; no curl needed."""
