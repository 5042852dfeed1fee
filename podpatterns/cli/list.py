"""`podpatterns list`: every component there is, own and third-party."""

from __future__ import annotations

import click


@click.command("list", short_help="List the components of each pattern.")
@click.argument("pattern", required=False)
def command(pattern: str | None) -> None:
    """List what can stand as `type:` in each list of a configuration, for all patterns or for one PATTERN."""
    from podpatterns.runtime.catalog import slots, summary
    from podpatterns.runtime.components import load_all
    from podpatterns.runtime.config import PATTERNS
    from podpatterns.runtime.decode import suggest
    from podpatterns.runtime.schema import component_type

    if pattern is not None and pattern not in PATTERNS:
        raise click.UsageError(f'unknown pattern "{pattern}"{suggest(pattern, PATTERNS)}')
    for slot in slots([pattern] if pattern else PATTERNS):
        click.echo(f"{slot.noun}s")
        for component in load_all(slot):
            click.echo(f"  {component_type(component):16} {summary(component)}")
