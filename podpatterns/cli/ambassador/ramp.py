"""`podpatterns ambassador ramp`: stop a ramp, go on, take the version out, or give it everything."""

from __future__ import annotations

import click

from podpatterns.cli.ambassador import _asking


@click.command("ramp", short_help="Pause, resume, abort, promote or restart a ramp.")
@click.argument("action", type=click.Choice(["pause", "resume", "abort", "promote", "restart"]))
@_asking.split_options
def command(action: str, admin: str | None, listener: str | None, route: str | None) -> None:
    """Steer a ramp by hand.

    pause keeps the version's share as it is; resume goes on, watching the step from its beginning; abort takes the
    version out; promote gives it the share of the last step; restart begins with the first step.
    """
    from podpatterns.cli.ambassador import _page

    body = {"action": action, "listener": listener, "route": route}
    changed = _asking.ask(admin, "PUT", "/ambassador/ramp", body)
    click.echo(f"{changed['route']}: ramp of {_page.ramp(changed['ramp'])}")
