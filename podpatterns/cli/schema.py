"""`podpatterns schema`: the JSON Schema of a configuration file, for editors."""

from __future__ import annotations

import click


@click.command("schema", short_help="Print the JSON Schema of a configuration file.")
@click.argument("pattern", required=False)
def command(pattern: str | None) -> None:
    """Print the JSON Schema (2020-12) of a configuration file: of all of it, or of files with one PATTERN.

    An editor with the YAML language server completes and checks while typing, with this as the first line:

        # yaml-language-server: $schema=podpatterns.schema.json
    """
    import msgspec

    from podpatterns.runtime.config import PATTERNS, RuntimeConfig, pattern_class
    from podpatterns.runtime.decode import suggest
    from podpatterns.runtime.json_schema import of_document

    if pattern is not None and pattern not in PATTERNS:
        raise click.UsageError(f'unknown pattern "{pattern}"{suggest(pattern, PATTERNS)}')
    names = [pattern] if pattern else list(PATTERNS)
    schema = of_document({name: pattern_class(name) for name in names}, RuntimeConfig)
    click.echo(msgspec.json.format(msgspec.json.encode(schema), indent=2).decode())
