"""`podpatterns logs query`: print records of an SQLite log store."""

from __future__ import annotations

import re
from pathlib import Path

import click

from podpatterns.cli.logs import _shown

_CONDITION = re.compile(r"([^=!~<>]+)(!=|>=|<=|=|~|>|<)(.*)", re.DOTALL)
_SQL = {"=": "= ?", "!=": "IS NOT ?", ">": "> ?", "<": "< ?", ">=": ">= ?", "<=": "<= ?", "~": "LIKE ? ESCAPE '\\'"}

_NUMBER = "json_extract(record, ?) GLOB '[-0-9]*' AND json_extract(record, ?) NOT GLOB '*[^-+.0-9eE]*'"
"""Whether a field is a number, or a text that reads like one; SQLite would take "abc" for 0."""


@click.command("query", short_help="Print records of an SQLite log store, or count them.")
@click.argument("store", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--where", "conditions", multiple=True, metavar="FIELD OP VALUE",
    help="Only records whose field compares so: status=200, status>=500, message~checkout (contains), pod!=a.",
)  # fmt: skip
@click.option("--since", metavar="TIME", help="Stored since: 5m, 1h (ago), or 2026-11-23T09:00:00.")
@click.option("--until", metavar="TIME", help="Stored until, written as for --since.")
@click.option("--source", metavar="GLOB", help="Only from these files: '*/access.log'.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, the newest; shown oldest first.")
@click.option("--count", is_flag=True, help="Print only how many there are.")
@_shown.option
@click.option("--id", "ids", is_flag=True, help="Begin each record with its event id.")
def command(  # noqa: PLR0917 - click passes by name
    store: Path,
    conditions: tuple[str, ...],
    since: str | None,
    until: str | None,
    source: str | None,
    limit: int | None,
    count: bool,
    form: str,
    ids: bool,
) -> None:
    """Print the records in STORE, a file written by the sidecar's output `sqlite`."""
    import sqlite3
    from urllib.parse import quote

    from podpatterns.errors import PodpatternsError

    clauses, values = [], []
    for condition in conditions:
        clause, more = _compared(condition)
        clauses.append(clause)
        values += more
    for column, text in (("received >= ?", since), ("received <= ?", until)):
        if text is not None:
            clauses.append(column)
            values.append(_moment(text))
    if source is not None:
        clauses.append("source GLOB ?")
        values.append(source)
    where = f"WHERE {' AND '.join(clauses)}" if clauses else ""
    newest = f"SELECT rowid, id, record FROM logs {where} ORDER BY rowid DESC"  # noqa: S608 - values are parameters
    if limit is not None:
        newest += f" LIMIT {limit}"
    try:
        database = sqlite3.connect(f"file:{quote(str(store.absolute()))}?mode=ro", uri=True)
        try:
            if count:
                click.echo(database.execute(f"SELECT count(*) FROM ({newest})", values).fetchone()[0])  # noqa: S608
                return
            show = _shown.shower(form)
            for _, name, record in database.execute(f"SELECT * FROM ({newest}) ORDER BY rowid", values):  # noqa: S608
                rest = record[1:] if record == "{}" else f",{record[1:]}"
                show(f'{{"id":"{name}"{rest}' if ids else record)
        finally:
            database.close()
    except sqlite3.Error as error:
        raise PodpatternsError(f"{store} cannot be queried: {error}; it must be a store of the output sqlite") from None


def _compared(condition: str) -> tuple[str, list[object]]:
    match = _CONDITION.fullmatch(condition)
    if match is None:
        raise click.BadParameter(
            f'"{condition}" is no condition; write "status>=500" or "message~checkout"', param_hint="--where"
        )
    field, operator, text = match[1].strip(), match[2], match[3].strip()
    path = f'$."{field}"' if '"' not in field else None
    if path is None:
        raise click.BadParameter(f'"{field}" is no field', param_hint="--where")
    if operator == "~":
        escaped = re.sub(r"([%_\\])", r"\\\1", text)
        return f"json_extract(record, ?) {_SQL[operator]}", [path, f"%{escaped}%"]
    value: object = text
    if re.fullmatch(r"-?\d+(\.\d+)?", text):
        # 200 and "200" are the same to who asks; a text that is no number is unequal to all, and neither more nor less.
        equal = operator if operator != "!=" else "="
        clause = f"coalesce({_NUMBER} AND CAST(json_extract(record, ?) AS REAL) {_SQL[equal]}, 0)"
        return (f"NOT {clause}" if operator == "!=" else clause), [path, path, path, float(text)]
    if text in ("true", "false"):
        value = int(text == "true")
    return f"json_extract(record, ?) {_SQL[operator]}", [path, value]


def _moment(text: str) -> float:
    """Seconds since 1970 for `5m` (ago) or a date with or without a time and zone."""
    import time
    from datetime import datetime

    from podpatterns.runtime.units import Duration

    try:
        return time.time() - Duration(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        raise click.BadParameter(f'"{text}" is neither "5m" (ago) nor a time such as "2026-11-23T09:00:00"') from None
