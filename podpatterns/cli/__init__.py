"""The command line: one file per verb, imported when the verb is used.

Exit codes: 0 done, 1 failed at run time, 2 bad configuration or usage. Logs go to standard error; standard
output belongs to the data.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
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
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # whoever has read enough, as `head` does; click ends quietly
            _give_up_stdout()
            click.echo(f"podpatterns: {': '.join(filter(None, (error.filename, error.strerror)))}", err=True)
            ctx.exit(1)


def _give_up_stdout() -> None:
    """What is left in its buffer would be tried again at the exit, with a traceback if the disk is still full."""
    with suppress(OSError, ValueError):  # a test's has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(
    cls=_Main,
    package=__name__,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="podpatterns")
def main() -> None:
    """Kubernetes' multi-container pod patterns, ready to run."""
