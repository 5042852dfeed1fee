"""The command line: one file per verb, imported when the verb is used.

Exit codes: 0 done, 1 failed at run time, 2 bad configuration or usage. Logs go to standard error; standard
output belongs to the data.
"""

from __future__ import annotations

from typing import Any

import click

from podpatterns import __version__
from podpatterns.cli._verbs import Verbs
from podpatterns.errors import ConfigError, PodpatternsError


class _Main(Verbs):
    """The outermost group: turns errors into messages and exit codes."""

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


@click.group(
    cls=_Main,
    package=__name__,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="podpatterns")
def main() -> None:
    """Kubernetes' multi-container pod patterns, ready to run."""
