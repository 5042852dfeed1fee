"""`podpatterns logs`: look at what a sidecar has shipped. One file per verb."""

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


@click.group("logs", cls=_Verbs, short_help="Query the logs that a sidecar has stored.")
def command() -> None:
    """Look at what a sidecar has shipped."""
