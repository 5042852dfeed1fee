"""`podpatterns ambassador weights`: change how much each version gets, from the next request on."""

from __future__ import annotations

import click

from podpatterns.cli.ambassador import _asking


@click.command("weights", short_help="Change the weights of a split while it runs.")
@click.argument("weights", nargs=-1, required=True, metavar="VERSION=WEIGHT...")
@_asking.split_options
def command(weights: tuple[str, ...], admin: str | None, listener: str | None, route: str | None) -> None:
    """Give versions other weights, such as `stable=50 test=50`; those that are not named keep theirs.

    A later change of the split in the configuration file takes their place. A ramp on the split ends.
    """
    wanted = {}
    for each in weights:
        version, _, weight = each.rpartition("=")
        if not version or not weight.isdecimal():
            raise click.UsageError(f'"{each}" is not a weight; write VERSION=WEIGHT, such as stable=90')
        wanted[version] = int(weight)
    body = {"weights": wanted, "listener": listener, "route": route}
    changed = _asking.ask(admin, "PUT", "/ambassador/weights", body)
    now = ", ".join(f"{version} {each['weight']}" for version, each in changed["versions"].items())
    click.echo(f"{changed['route']}: {now}")
