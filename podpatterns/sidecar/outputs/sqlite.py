"""The embedded store: an SQLite database that `podpatterns logs query` reads, so that no server is needed."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec

from podpatterns.errors import Retryable, StartError
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.outputs import ACCEPTED, Output, OutputConfig, Receipt

SCHEMA = """
CREATE TABLE IF NOT EXISTS logs (
  id TEXT PRIMARY KEY,
  received REAL NOT NULL,
  source TEXT NOT NULL,
  record TEXT NOT NULL
)
"""


class SqliteConfig(OutputConfig, frozen=True, kw_only=True):
    """Stores records in a local SQLite database, each once, however often it is delivered."""

    WRITES: ClassVar[frozenset[str]] = frozenset({"path"})
    PRIVATE: ClassVar[frozenset[str]] = WRITES
    WHERE = ("path",)
    EXAMPLE: ClassVar[str] = "{type: sqlite, path: /var/lib/store/logs.sqlite}"

    path: Annotated[str, msgspec.Meta(min_length=1)]
    """The database file; it and its directory are created if they are not there."""

    durable: bool = True
    """Whether each delivery is flushed to the disk before it counts as acknowledged, so that it survives a crash of the
    node. False is faster, and safe against everything but that."""

    def build(self) -> Sqlite:
        """The output."""
        return Sqlite(self)


class Sqlite(Output):
    """Writes in a thread of its own, because a commit waits for the disk."""

    def __init__(self, config: SqliteConfig) -> None:
        self.config = config
        self._thread: ThreadPoolExecutor | None = None
        self._database: sqlite3.Connection | None = None

    async def start(self) -> None:
        """Open or create the database. Raises StartError."""
        self._thread = ThreadPoolExecutor(1, "sqlite")
        await self._in_thread(self._open)

    def _open(self) -> None:
        path = Path(self.config.path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, isolation_level=None, timeout=5)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute(f"PRAGMA synchronous={'FULL' if self.config.durable else 'NORMAL'}")
            self._database.execute(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise StartError(
                f"the log store {path} cannot be opened: {reason}; the directory must be writable for uid {os.getuid()}"
            ) from None

    async def deliver(self, batches: Sequence[Batch]) -> Receipt:
        """One transaction for all of it; what is there already stays as it is."""
        await self._in_thread(self._insert, batches)
        return ACCEPTED

    def _insert(self, batches: Sequence[Batch]) -> None:
        database = self._database
        assert database is not None, "started"
        try:
            database.execute("BEGIN IMMEDIATE")
            try:
                database.executemany("INSERT OR IGNORE INTO logs VALUES (?, ?, ?, ?)", _rows(batches, time.time()))
                database.execute("COMMIT")
            except sqlite3.Error:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise Retryable(f"{self.config.path}: {error}") from None

    async def _in_thread(self, function: Callable[..., None], *args: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    async def stop(self) -> None:
        """Close the database."""
        if self._thread is None:
            return
        await self._in_thread(self._close)
        self._thread.shutdown()
        self._thread = None

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def _rows(batches: Sequence[Batch], now: float) -> Iterator[tuple[str, float, str, str]]:
    for batch in batches:
        name = batch.source.name
        for identity, record in zip(batch.ids, batch.ndjson.decode().split("\n"), strict=False):
            yield identity, now, name, record
