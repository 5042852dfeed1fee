"""`podpatterns drain`: finish what was taken, take nothing new; for preStop hooks."""

from __future__ import annotations

import json
import time

import click

from podpatterns.cli import _admin


@click.command("drain", short_help="Drain the runtime; for preStop hooks.")
@_admin.option
@click.option("--wait/--no-wait", default=True, show_default=True, help="Return when the runtime has ended.")
@click.option("--timeout", default=30.0, show_default=True, help="Seconds to wait for the end of the drain.")
def command(admin: str | None, wait: bool, timeout: float) -> None:
    """Ask the runtime to drain, and wait until it has; exit 1 if it has not within the time."""
    deadline = time.monotonic() + timeout
    status, body = _admin.ask(admin, "POST", "/drain", timeout=timeout)
    click.echo(body, err=status != 202)
    if status != 202:
        raise SystemExit(1)
    while wait and time.monotonic() < deadline:
        try:
            status, body = _admin.ask(admin, "GET", "/status", timeout=timeout)
        except _admin.Unreachable:
            return
        if status == 200 and json.loads(body)["phase"] != "draining":
            return  # a native sidecar is started again after it has ended: this is its successor
        time.sleep(0.1)
    if wait:
        click.echo(f"still draining after {timeout:g} s", err=True)
        raise SystemExit(1)
