"""`podpatterns pod uninject`: take our containers out again."""

from __future__ import annotations

from pathlib import Path

import click

from podpatterns.cli._files import FILE


@click.command("uninject", short_help="Take out what inject has added, to the byte.")
@click.argument("manifest", type=FILE)
@click.option("--in-place", is_flag=True, help="Write the file itself.")
def command(*, manifest: Path, in_place: bool) -> None:
    """Print MANIFEST as it was before `pod inject`."""
    from podpatterns.pod.inject.manifest import uninject
    from podpatterns.runtime import config

    original = uninject(config.read(manifest), str(manifest))
    if in_place:
        manifest.write_bytes(original.encode())
    else:
        click.echo(original, nl=False)
