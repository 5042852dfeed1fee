"""How records are shown: as NDJSON to programs, as lines with colours to people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import click

TIMES = ("time", "timestamp", "@timestamp", "ts")
LEVELS = ("level", "severity", "levelname")
MESSAGES = ("message", "msg")
COLOURS = {
    "trace": "bright_black", "debug": "bright_black", "info": "green", "notice": "green", "warn": "yellow",
    "warning": "yellow", "error": "red", "err": "red", "critical": "red", "crit": "red", "fatal": "red", "panic": "red",
}  # fmt: skip

option = click.option(
    "--format", "form", type=click.Choice(["auto", "json", "text"]), default="auto", show_default=True,
    help="json: records as they are. text: time, level and message first, the other fields behind them. auto: text on "
    "a terminal, json elsewhere.",
)  # fmt: skip


def shower(form: str) -> Callable[[str], None]:
    """Prints a record, given as JSON."""
    if form == "json" or (form == "auto" and not sys.stdout.isatty()):
        return click.echo
    return lambda record: click.echo(text(record))


def text(record: str) -> str:
    """A line for people; what is no object stays as it is."""
    try:
        fields = json.loads(record)
    except ValueError:
        return record
    if not isinstance(fields, dict):
        return record
    time, level, message = (_first(fields, names) for names in (TIMES, LEVELS, MESSAGES))
    parts = []
    if time is not None:
        parts.append(click.style(_plain(time), dim=True))
    if level is not None:
        parts.append(click.style(f"{_plain(level).upper():5}", fg=COLOURS.get(_plain(level).lower()), bold=True))
    if message is not None:
        parts.append(_plain(message))
    parts += [f"{click.style(f'{_plain(name)}=', dim=True)}{_plain(value)}" for name, value in fields.items()]
    return " ".join(parts)


def _first(fields: dict[str, Any], names: tuple[str, ...]) -> Any:
    name = next((name for name in names if fields.get(name) is not None), None)
    return None if name is None else fields.pop(name)


def _plain(value: Any) -> str:
    """Text as it is, other values as JSON, but for characters that would move a terminal's cursor."""
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() or char in "\n\t" else f"\\x{ord(char):02x}" for char in shown)
