"""`podpatterns ambassador status`: versions, weights, measured shares, how they do, and where a ramp stands."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from podpatterns.cli.ambassador import _asking


@click.command("status", short_help="Show versions, shares, success, latencies and ramps.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@_asking.admin_option
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--watch", is_flag=True, help="Show it anew every second, until Ctrl-C.")
def command(files: tuple[Path, ...], admin: str | None, output: str, watch: bool) -> None:
    """Show how the ambassador that FILES configure is doing; without FILES, the one at port 9802 of this pod.

    `share` is measured since the weights were last changed, `overall` since the start; success, p50 and p99 are since
    the start as well.
    """
    import json

    from podpatterns.cli.ambassador import _page

    address = admin or _asking.address_in(files)
    plain = not (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    before, asked = None, 0.0
    while True:
        page, now = _asking.ask(address, "GET", "/ambassador"), time.monotonic()
        if output == "json":
            click.echo(json.dumps(page, indent=None if watch else 2))
        else:
            lines = list(_page.lines(page, before, now - asked, plain=plain))
            if watch:
                click.clear()
            click.echo("\n".join(lines))
        if not watch:
            return
        before, asked = page, now
        try:
            time.sleep(1)
        except KeyboardInterrupt:
            return
