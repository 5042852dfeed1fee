"""`podpatterns adapter series`: how many series there are, whose, and what was refused, dropped or left out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from podpatterns.cli import _admin
from podpatterns.cli._files import FILE
from podpatterns.errors import PodpatternsError


@click.command("series", short_help="Show the largest metrics, and what was refused or dropped.")
@click.argument("files", nargs=-1, type=FILE)
@click.option(
    "--admin",
    metavar="ADDRESS",
    envvar="PODPATTERNS_ADMIN",
    help="The admin endpoint, host:port. Default: $PODPATTERNS_ADMIN, else port 9803 of this pod.",
)
@click.option("--top", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Metrics that are shown.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(files: tuple[Path, ...], admin: str | None, top: int, output: str) -> None:
    """Show the series of the adapter that FILES configure; without FILES, of the one at port 9803 of this pod."""
    from podpatterns.cli.adapter import _page

    address = admin or _admin.address_in(files)
    status, text = _admin.ask(address, "GET", f"/adapter/series?top={top}", timeout=5.0, defaults=("127.0.0.1:9803",))
    if status == 404:
        raise PodpatternsError(
            "the admin endpoint that answers is not that of an adapter; name another one with --admin"
        )
    if status != 200:
        raise PodpatternsError(f"the admin endpoint answers {status}: {text}")
    try:
        answer = json.loads(text)
    except ValueError:
        raise PodpatternsError("what answers is no admin endpoint; name another one with --admin") from None
    if output == "json":
        click.echo(json.dumps(answer, indent=2))
        return
    plain = not (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    click.echo("\n".join(_page.lines(answer, plain=plain)))
