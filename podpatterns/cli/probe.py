"""`podpatterns probe`: an exec probe without curl."""

from __future__ import annotations

import click

from podpatterns.cli import _admin


@click.command("probe", short_help="Ask whether the runtime is live, ready or started; for exec probes.")
@click.argument("what", type=click.Choice(["live", "ready", "startup"]))
@_admin.option
@click.option("--timeout", default=1.0, show_default=True, help="Seconds to wait for the answer.")
def command(what: str, admin: str | None, timeout: float) -> None:
    """Exit 0 if the runtime in this pod is live, ready or started, and 1, with the reason, if not."""
    status, body = _admin.ask(admin, "GET", f"/{what}z", timeout=timeout)
    click.echo(body, err=status != 200)
    raise SystemExit(0 if status == 200 else 1)
