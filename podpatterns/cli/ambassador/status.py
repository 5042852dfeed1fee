"""`podpatterns ambassador status`: versions, weights, measured shares, how they do, and where a ramp stands."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from podpatterns.cli import _admin
from podpatterns.cli._files import FILE
from podpatterns.cli.ambassador import _asking


@click.command("status", short_help="Show versions, shares, success, latencies and ramps.")
@click.argument("files", nargs=-1, type=FILE)
@_asking.admin_option
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--watch", is_flag=True, help="Show it anew every second, until Ctrl-C.")
def command(files: tuple[Path, ...], admin: str | None, output: str, watch: bool) -> None:
    """Show how the ambassador that FILES configure is doing; without FILES, the one at port 9802 of this pod.

    `share` is measured since the weights were last changed, `overall` since the start; success, p50 and p99 are since
    the start as well.
    """
    address = admin or _admin.address_in(files)
    show = _text(clear=watch) if output == "text" else _json(indent=None if watch else 2)
    over = threading.Event()
    if watch:
        # An interrupt in the middle of anything could be swallowed there; the end of a look is soon enough.
        signal.signal(signal.SIGINT, lambda *_: over.set())
    show(_asking.ask(address, "GET", "/ambassador"))
    while watch and not over.wait(1):
        show(_asking.ask(address, "GET", "/ambassador"))


def _json(indent: int | None) -> Callable[[Any], None]:
    return lambda page: click.echo(json.dumps(page, indent=indent))


def _text(*, clear: bool) -> Callable[[Any], None]:
    from podpatterns.cli.ambassador import _page

    plain = not (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    before: Any = None
    asked = 0.0

    def show(page: Any) -> None:
        nonlocal before, asked
        now = time.monotonic()
        lines = list(_page.lines(page, before, now - asked, plain=plain))
        if clear:
            click.clear()
        click.echo("\n".join(lines))
        before, asked = page, now

    return show
