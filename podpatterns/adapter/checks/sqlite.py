"""Whether an SQLite database answers."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import quote

import msgspec

from podpatterns.adapter.checks import Check, CheckConfig, CheckContext, Failed
from podpatterns.adapter.checks._query import Query, judge
from podpatterns.runtime.units import Duration


class SqliteConfig(CheckConfig, frozen=True, kw_only=True):
    """Passes if a query on the database in a file succeeds. The file is opened for reading alone."""

    READS: ClassVar[frozenset[str]] = frozenset({"path"})
    EXAMPLE: ClassVar[str] = "{type: sqlite, path: /var/lib/shop/shop.db, query: SELECT count(*) > 0 FROM products}"

    path: Annotated[str, msgspec.Meta(min_length=1)]
    """The database's file. One that is not there fails, and is not made."""

    query: Query = "SELECT count(*) FROM sqlite_master"
    """What is asked. The default reads the schema, so that a file which is no database fails."""

    expect: str | None = None
    """What the first value of the first row must be, as text: `7`, `null`; SQLite's truth is `1`. None: any answer
    passes, as long as there is no error."""

    def build(self, context: CheckContext) -> Check:  # noqa: ARG002 - it needs nothing of the adapter
        """The check."""
        return Sqlite(self)

    def asks(self) -> str:
        """What is asked."""
        return f"ask {self.path}: {self.query}"


class Sqlite(Check):
    """Asks in a thread, which ends by itself when the time is over: threads cannot be ended."""

    def __init__(self, config: SqliteConfig) -> None:
        self._config = config

    async def probe(self) -> None:
        """Open, ask, close."""
        await asyncio.to_thread(self._ask, self._config.timeout)

    def _ask(self, within: Duration) -> None:
        import sqlite3

        end = time.monotonic() + within
        name = f"file:{quote(self._config.path)}?mode=ro"
        try:
            with closing(sqlite3.connect(name, uri=True, timeout=within)) as database:
                database.set_progress_handler(lambda: time.monotonic() > end, 10_000)
                row = database.execute(self._config.query).fetchone()
        except sqlite3.Error as error:
            raise Failed(_why(error, self._config.path)) from None
        judge(row, self._config.expect)


def _why(error: Exception, path: str) -> str:
    """What SQLite says; of a file that it cannot open, the system says more."""
    if getattr(error, "sqlite_errorname", "") == "SQLITE_CANTOPEN":
        try:
            Path(path).open("rb").close()
        except OSError as cause:
            return f"{error}: {(cause.strerror or str(cause)).lower()}"
    return str(error)
