"""The command line: one file per verb, imported when the verb is used.

Exit codes: 0 done, 1 failed at run time, 2 bad configuration or usage. Logs go to standard error; standard
output belongs to the data.
"""

from __future__ import annotations

import errno
import io
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
        if isinstance(sys.stdout, io.TextIOWrapper):  # in Latin-1, say, an ellipsis is no reason for a traceback
            sys.stdout.reconfigure(errors="backslashreplace")
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
            from podpatterns.pod.writing import silence

            # What is left in the buffer would be tried again at the exit, with a traceback if the disk is still full.
            with suppress(OSError, ValueError):  # a test's has no descriptor
                silence(sys.stdout)
            click.echo(f"podpatterns: {': '.join(filter(None, (error.filename, error.strerror)))}", err=True)
            ctx.exit(1)


@click.group(
    cls=_Main,
    package=__name__,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="podpatterns")
def main() -> None:
    """Kubernetes' multi-container pod patterns, ready to run."""
