"""Reading a descriptor of any kind without blocking, until its end or until somebody says that it is enough."""

from __future__ import annotations

import asyncio
import os
import select


class Descriptor:
    """A pipe, a terminal, a socket or a file that was inherited, such as standard input."""

    def __init__(self, number: int, enough: asyncio.Event) -> None:
        self._number, self._enough = number, enough

    async def read(self, size: int, patience: float | None = None) -> bytes | None:
        """Some bytes; none at the end, or when it is enough and nothing is there; None if nothing came in time."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        try:
            loop.add_reader(self._number, readable.set)
        except (PermissionError, NotImplementedError):  # a file: it never makes anybody wait for long
            if self._enough.is_set():
                return b""
            return await asyncio.to_thread(os.read, self._number, size)
        try:
            waits = [asyncio.ensure_future(readable.wait()), asyncio.ensure_future(self._enough.wait())]
            try:
                done, _ = await asyncio.wait(waits, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in waits:
                    each.cancel()
        finally:
            loop.remove_reader(self._number)
        if not select.select([self._number], [], [], 0)[0]:
            return b"" if done else None
        return os.read(self._number, size)
