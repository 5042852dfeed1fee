"""How records are shown to people, and to programs."""

from __future__ import annotations

import click
import pytest

from podpatterns.cli.logs import _shown


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        ('{"level":"warn","message":"slow","took":1.5,"time":"2026-11-28"}', "2026-11-28 WARN  slow took=1.5"),
        ('{"msg":"é","ts":7,"severity":"ERROR","deep":{"a":[1]}}', '7 ERROR é deep={"a": [1]}'),
        ('{"n":1}', "n=1"),
        ('{"level":3,"message":null}', "3     message=null"),
        ('{"message":"two\\nlines\\u001b[2J"}', "two\nlines\\x1b[2J"),
        ('{"\\u001b[2J":1,"deep":{"a":"\\u009b2J"}}', '\\x1b[2J=1 deep={"a": "\\x9b2J"}'),
        ("[1]", "[1]"),
        ("no json", "no json"),
    ],
)  # fmt: skip
def test_a_line_for_people(record: str, shown: str) -> None:
    """Time, level and message first, the rest behind them; nothing that a log has in it moves the cursor."""
    assert click.unstyle(_shown.text(record)) == shown


def test_programs_get_the_records(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody looks, `auto` is NDJSON, byte for byte."""
    record = '{"level":"warn","message":"\\u001b"}'
    for form in ("auto", "json"):
        _shown.shower(form)(record)
    assert capsys.readouterr().out == f"{record}\n" * 2
    _shown.shower("text")(record)
    assert click.unstyle(capsys.readouterr().out) == "WARN  \\x1b\n"
