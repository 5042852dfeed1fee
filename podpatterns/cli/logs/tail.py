"""`podpatterns logs tail`: follow what a sidecar is shipping."""

from __future__ import annotations

import json
import time

import click

from podpatterns.cli import _admin
from podpatterns.cli.logs import _shown

PAUSE = 0.3
"""Seconds between two questions."""


@click.command("tail", short_help="Follow what a sidecar is shipping, live.")
@_admin.option
@click.option("--for", "seconds", type=float, metavar="SECONDS", help="End after so long; by default with Ctrl-C.")
@_shown.option
@click.option("--match", metavar="TEXT", help="Only records that have this text in them.")
def command(admin: str | None, seconds: float | None, form: str, match: str | None) -> None:
    """Print records as they go out, from now on: after all transforms, before the outputs.

    It asks the admin endpoint, which answers on loopback alone: run it in the sidecar's container. The sidecar does not
    wait for it; what comes faster than it can be fetched is passed over, and a line on standard error says so.
    """
    from podpatterns.errors import PodpatternsError

    show = _shown.shower(form)
    end = time.monotonic() + seconds if seconds is not None else float("inf")
    question = "/tail"
    while True:
        status, body = _admin.ask(admin, "GET", question, timeout=10.0)
        if status != 200:
            raise PodpatternsError(f"the endpoint does not know what is shipped ({status}): is a sidecar there?")
        head, _, records = body.partition("\n")
        state = json.loads(head)
        if state["missed"]:
            click.echo(f"{state['missed']} records were passed over", err=True)
        for record in records.split("\n") if records else ():
            if match is None or match in record:
                show(record)
        if time.monotonic() >= end:
            return
        question = f"/tail?after={state['next']}"
        time.sleep(min(PAUSE, max(0.0, end - time.monotonic())))
