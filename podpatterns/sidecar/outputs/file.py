"""A file of NDJSON."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec

from podpatterns.errors import StartError
from podpatterns.formats import jsonlines
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.durable import append_whole, leads_to, mend
from podpatterns.sidecar.outputs import ACCEPTED, Output, OutputConfig, Receipt


class FileConfig(OutputConfig, frozen=True, kw_only=True):
    """Appends records to a file, one JSON object per line, flushed to the disk before they count as acknowledged."""

    WRITES: ClassVar[frozenset[str]] = frozenset({"path"})
    PRIVATE: ClassVar[frozenset[str]] = WRITES
    WHERE = ("path",)
    EXAMPLE: ClassVar[str] = "{type: file, path: /var/lib/store/logs.ndjson}"

    path: Annotated[str, msgspec.Meta(min_length=1)]
    """The file; it and its directory are created if they are not there. It grows without bound: rotate it from
    outside."""

    event_id: bool = False
    """Whether each record begins with its `id`. After a crash a delivery may be repeated, with the same ids."""

    def build(self) -> File:
        """The output."""
        return File(self)


class File(Output):
    """Appends in a thread of its own, because flushing waits for the disk; it is never in two writes at once."""

    def __init__(self, config: FileConfig) -> None:
        self.config = config
        self._descriptor: int | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def start(self) -> None:
        """Open the file; a line that a crash has torn is cut off, for it is delivered again. Raises StartError."""
        self._thread = ThreadPoolExecutor(1, "file")
        try:
            await self._in_thread(self._open)
        except OSError as error:
            raise StartError(
                f"the file {self.config.path} cannot be written: {error.strerror}; "
                f"its directory must be writable for uid {os.getuid()}"
            ) from None

    def _open(self) -> int:
        path = Path(self.config.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._close()
        self._descriptor = descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        mend(descriptor)
        return descriptor

    async def deliver(self, batches: Sequence[Batch]) -> Receipt:
        """Append and flush."""
        if self.config.event_id:
            data = b"".join(jsonlines.with_ids(batch.ndjson, batch.ids) for batch in batches)
        else:
            data = b"".join(batch.ndjson for batch in batches)
        await self._in_thread(self._append, data)
        return ACCEPTED

    def _append(self, data: bytes) -> None:
        descriptor = self._descriptor
        assert descriptor is not None, "started"
        if not leads_to(Path(self.config.path), descriptor):
            descriptor = self._open()  # rotated from outside
        append_whole(descriptor, data)

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    async def stop(self) -> None:
        """Close the file, after a write that goes on although its delivery was cancelled."""
        if self._thread is None:
            return
        await self._in_thread(self._close)
        self._thread.shutdown()
        self._thread = None

    async def _in_thread(self, function: Callable[..., object], *args: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)
