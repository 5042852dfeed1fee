"""A group of commands whose verbs are the modules of a package."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Any

import click


class Verbs(click.Group):
    """Finds a verb as the module of its name, so that `probe`, run every few seconds, imports nothing else.

    `package` is the package that holds the modules; each defines its command as `command`.
    """

    def __init__(self, *args: Any, package: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self._package = package

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The modules of the package, without the private ones."""
        path = import_module(self._package).__path__
        return sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of one module, imported now."""
        if name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(f"{self._package}.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion for a verb that is not there."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from podpatterns.runtime.decode import suggest

            message = f"{error.message.rstrip('.')}{suggest(args[0], self.list_commands(ctx))}"
            raise click.UsageError(message, ctx) from None
