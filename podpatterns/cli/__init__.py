"""The command line: one file per verb, imported when the verb is used.

Exit codes: 0 done, 1 failed at run time, 2 bad configuration or usage. Logs go to standard error; standard
output belongs to the data.
"""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module
from typing import Any

import click

from podpatterns import __version__
from podpatterns.errors import ConfigError, PodpatternsError


class _Verbs(click.Group):
    """Finds a verb as the module of its name, so that `probe`, run every few seconds, imports nothing else."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(f"{__name__}.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from podpatterns.runtime.decode import suggest

            raise click.UsageError(
                f"{error.message.rstrip('.')}{suggest(args[0], self.list_commands(ctx))}", ctx
            ) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            for problem in error.problems:
                click.echo(str(problem), err=True)
            ctx.exit(2)
        except PodpatternsError as error:
            click.echo(f"podpatterns: {error}", err=True)
            ctx.exit(1)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="podpatterns")
def main() -> None:
    """Kubernetes' multi-container pod patterns, ready to run."""


def entry() -> None:
    """For `python -m podpatterns` and the console script."""
    sys.exit(main())
