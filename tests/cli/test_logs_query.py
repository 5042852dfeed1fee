"""`podpatterns logs query`, as a person types it, on a store that the sidecar has written."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from podpatterns.cli import main
from podpatterns.sidecar.batch import Batch, Source
from podpatterns.sidecar.outputs.sqlite import SqliteConfig
from podpatterns.sidecar.transforms.parse import ParseConfig

RECORDS = [
    {"n": 1, "status": 200, "path": "/", "pod": "a", "ok": True},
    {"n": 2, "status": 404, "path": "/100%_\\", "pod": "b", "ok": False},
    {"n": 3, "status": "500", "path": "/checkout", "pod": "a", "user.name": "ann"},
    {"n": 4, "path": "/Zürich \u2028", "pod": "it's", "deep": {"x": 1}},
    {"n": 5, "status": 503.5, "path": "/checkout/2", "pod": "a", "ok": None},
]


async def store_away(path: Path) -> list[str]:
    """Write the records as the sidecar does, the first three as one file's and the others as another's; their ids."""
    output = SqliteConfig(path=str(path)).build()
    await output.start()
    ids: list[str] = []
    for name, records in (("/logs/web.log", RECORDS[:3]), ("/logs/api.log", RECORDS[3:])):
        text = b"\n".join(json.dumps(record).encode() for record in records)
        batch = ParseConfig(format="json").build().apply(Batch(Source(name, name), text, 0, len(text) + 1))
        batch.encode({})
        await output.deliver([batch])
        await output.deliver([batch])  # a repeated delivery changes nothing
        ids += batch.ids
    await output.stop()
    return ids


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "a store?.sqlite"
    asyncio.run(store_away(path))
    return path


def query(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["logs", "query", *map(str, arguments)])


def numbers(result: Result) -> list[int]:
    assert result.exit_code == 0, result.stderr
    return [json.loads(line)["n"] for line in result.stdout.split("\n")[:-1]]


def test_the_records_come_back_as_ndjson(store: Path) -> None:
    """One JSON object per line, in the order in which they were stored, each once; nothing else on standard output."""
    result = query(store)
    assert [json.loads(line) for line in result.stdout.split("\n")[:-1]] == RECORDS
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        (["status=200"], [1]),
        (["status = 200"], [1]),
        (["status>=404"], [2, 3, 5]),
        (["status>404"], [3, 5]),
        (["status<404"], [1]),
        (["status<=404"], [1, 2]),
        (["status!=200", "status<1000"], [2, 3, 5]),
        (["status=503.5"], [5]),
        (["path~checkout"], [3, 5]),
        (["path~100%"], [2]),
        (["path~%"], [2]),
        (["path~_"], [2]),
        (["path~\\"], [2]),
        (["path~Zürich"], [4]),
        (["path=/"], [1]),
        (["pod=a"], [1, 3, 5]),
        (["pod!=a"], [2, 4]),
        (["pod=it's"], [4]),
        (["pod=a' OR '1'='1"], []),
        (["pod=a", "status>=500"], [3, 5]),
        (["ok=true"], [1]),
        (["ok=false"], [2]),
        (["user.name=ann"], [3]),
        (["nothing=1"], []),
        (["path=a=b"], []),
    ],
)
def test_where(store: Path, conditions: list[str], found: list[int]) -> None:
    """All conditions hold; numbers compare as numbers, also when written as text; what is searched for is literal."""
    arguments = [each for condition in conditions for each in ("--where", condition)]
    assert numbers(query(store, *arguments)) == found
    assert query(store, *arguments, "--count").stdout == f"{len(found)}\n"


@pytest.mark.parametrize("condition", ["status", "", "=1", "~", 'a"b=1'])
def test_what_is_no_condition_is_refused(store: Path, condition: str) -> None:
    """A usage error that names the option: exit code 2."""
    result = query(store, "--where", condition)
    assert result.exit_code == 2
    assert "--where" in result.stderr
    assert result.stdout == ""


def test_since_and_until(store: Path) -> None:
    """A time ago, or a date with or without a zone; the ends are included."""
    moments = {1: time.time() - 7200, 2: time.time() - 1800, 3: time.time()}
    with sqlite3.connect(store) as database:
        database.execute("DELETE FROM logs WHERE json_extract(record, '$.n') > 3")
        for number, moment in moments.items():
            database.execute("UPDATE logs SET received = ? WHERE json_extract(record, '$.n') = ?", (moment, number))
    database.close()
    assert numbers(query(store, "--since", "1h")) == [2, 3]
    assert numbers(query(store, "--since", "3h")) == [1, 2, 3]
    assert numbers(query(store, "--until", "1h")) == [1]
    assert numbers(query(store, "--since", "3h", "--until", "10m")) == [1, 2]
    local = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(moments[2] - 1))
    zoned = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(moments[2] - 1))
    assert numbers(query(store, "--since", local)) == numbers(query(store, "--since", zoned)) == [2, 3]
    assert numbers(query(store, "--since", "1999-12-31")) == [1, 2, 3]


@pytest.mark.parametrize("option", ["--since", "--until"])
@pytest.mark.parametrize("text", ["yesterday", "5", "2026-13-01", ""])
def test_what_is_no_time_is_refused(store: Path, option: str, text: str) -> None:
    """The message shows both forms; exit code 2."""
    result = query(store, option, text)
    assert result.exit_code == 2
    assert 'is neither "5m" (ago) nor a time such as "2026-11-23T09:00:00"' in result.stderr


def test_limit_keeps_the_newest_in_order(store: Path) -> None:
    """The last so many, oldest first, of those that match; the count is of the same."""
    assert numbers(query(store, "--limit", 2)) == [4, 5]
    assert numbers(query(store, "--limit", 99)) == [1, 2, 3, 4, 5]
    assert numbers(query(store, "--limit", 1, "--where", "pod=a")) == [5]
    assert query(store, "--limit", 2, "--count").stdout == "2\n"
    assert query(store, "--limit", 0).exit_code == 2


def test_source_and_id(store: Path) -> None:
    """Only from some files; with the event id as the first field."""
    assert numbers(query(store, "--source", "*/web.log")) == [1, 2, 3]
    assert numbers(query(store, "--source", "/logs/*.log")) == [1, 2, 3, 4, 5]
    assert numbers(query(store, "--source", "web.log")) == []
    with_ids = [json.loads(line) for line in query(store, "--id").stdout.split("\n")[:-1]]
    assert [next(iter(record)) for record in with_ids] == ["id"] * 5
    assert len({record["id"] for record in with_ids}) == 5


def test_count(store: Path) -> None:
    """A number alone."""
    assert query(store, "--count").stdout == "5\n"


def test_an_unknown_store_is_named(tmp_path: Path) -> None:
    """A file that is not there: exit code 2, its name, no traceback, and it is not created."""
    missing = tmp_path / "missing.sqlite"
    result = query(missing)
    assert result.exit_code == 2
    assert "missing.sqlite' does not exist" in result.stderr
    assert not missing.exists()
    assert query(tmp_path).exit_code == 2


@pytest.mark.parametrize("content", [b"", b'{"message": "not a database"}\n' * 100])
def test_a_file_that_is_no_store_is_named(tmp_path: Path, content: bytes) -> None:
    """Some other file: exit code 1, and what it should have been; it stays as it was."""
    path = tmp_path / "other"
    path.write_bytes(content)
    result = query(path)
    assert result.exit_code == 1
    assert f"{path} cannot be queried: " in result.stderr
    assert "it must be a store of the output sqlite" in result.stderr
    assert path.read_bytes() == content


def test_a_store_that_is_being_written_can_be_read(tmp_path: Path) -> None:
    """While the sidecar is in the middle of a transaction, the query shows what was there before."""
    path = tmp_path / "store.sqlite"
    asyncio.run(store_away(path))
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM logs")
    assert query(path, "--count").stdout == "5\n"
    writer.execute("ROLLBACK")
    writer.close()


def test_a_text_is_no_number(store: Path) -> None:
    """`pod=0` does not find the text "a", nor does `pod<5`; `pod!=0` does. A text that reads like a number is one."""
    assert numbers(query(store, "--where", "pod=0")) == []
    assert numbers(query(store, "--where", "pod<5")) == []
    assert numbers(query(store, "--where", "pod!=0")) == [1, 2, 3, 4, 5]
    assert numbers(query(store, "--where", "status>=500")) == [3, 5]
    assert numbers(query(store, "--where", "status!=500")) == [1, 2, 4, 5]


def test_an_id_stands_before_an_empty_record_too(tmp_path: Path) -> None:
    """What is printed is JSON, whatever the record holds."""
    path = tmp_path / "empty.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE logs (id TEXT, source TEXT, received REAL, record TEXT)")
        database.execute("INSERT INTO logs VALUES ('a1', 'x', 0, '{}')")
    database.close()
    assert json.loads(query(path, "--id").stdout) == {"id": "a1"}
