"""`podpatterns show`: one component's reference: what it does, its fields, an example."""

from __future__ import annotations

import click


@click.command("show", short_help="Show a component's fields and an example.")
@click.argument("component")
def command(component: str) -> None:
    """Show what COMPONENT does, its fields with their defaults, and an example.

    COMPONENT is a type as `podpatterns list` prints it (`tail`), or with its pattern where a type
    exists in several (`adapter.python`), or a pattern itself (`sidecar`), or `runtime`.
    """
    from podpatterns.runtime import catalog
    from podpatterns.runtime.decode import suggest

    found = catalog.find(component)
    if not found:
        raise click.UsageError(f'unknown component "{component}"{suggest(component, catalog.names())}')
    click.echo("\n\n".join(catalog.page(name, cls) for name, cls in found.items()))
