"""`podpatterns check`: say what is wrong with configuration files, all at once."""

from __future__ import annotations

from pathlib import Path

import click

from podpatterns.cli._files import FILE


@click.command("check", short_help="Check configuration files; list every problem.")
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--print", "show", is_flag=True, help="Print the effective configuration, defaults included, as JSON.")
def command(files: tuple[Path, ...], show: bool) -> None:
    """Check FILES, which together configure one process; exit 2 with every problem, its line and a suggestion."""
    import msgspec

    from podpatterns.runtime import config
    from podpatterns.runtime.schema import to_builtins

    loaded = config.load(files)
    for name, pattern in loaded.patterns.items():
        for warning in pattern.warnings():
            click.echo(f"warning: {name}: {warning}", err=True)
    if show:
        effective = {name: to_builtins(pattern) for name, pattern in loaded.patterns.items()}
        body = msgspec.json.encode({**effective, "runtime": to_builtins(loaded.runtime)})
        click.echo(msgspec.json.format(body, indent=2).decode())
    else:
        admin = f"admin on {loaded.admin}" if loaded.admin else "no admin endpoint"
        click.echo(f"ok: {', '.join(loaded.patterns)} ({admin})")
