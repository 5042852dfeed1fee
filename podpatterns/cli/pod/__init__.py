"""`podpatterns pod`: pods without a cluster. One file per verb."""

from __future__ import annotations

import click

from podpatterns.cli._verbs import Verbs


@click.group("pod", cls=Verbs, package=__name__, short_help="Pods without a cluster.")
def command() -> None:
    """Run a pod's manifest as local processes, by the kubelet's rules."""
