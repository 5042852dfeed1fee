"""`podpatterns pod`: pods without a cluster."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import click


class _Verbs(click.Group):
    """Finds a verb as the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(ctx):
            return None
        found: click.Command = import_module(f"{__name__}.{name}").command
        return found


@click.group("pod", cls=_Verbs, short_help="Pods without a cluster.")
def command() -> None:
    """Run a pod's manifest as local processes, by the kubelet's rules."""
