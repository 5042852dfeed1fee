"""The way of a log through the adapter: bytes of whole lines in, records out, and nothing lost in between.

Whoever reads hands over bytes that end with a line, and is told how many of them have been written: the others are
kept back, and handed over again with what has come since. So a reader knows at every moment up to where its source is
safe.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time

from podpatterns.adapter.log_output import LogOutput
from podpatterns.adapter.logs import Log, LogConfig, LogContext
from podpatterns.adapter.normaliser import LONGEST, Normaliser
from podpatterns.formats.lines import clean
from podpatterns.runtime.backoff import Backoff
from podpatterns.runtime.service import Deadline

CHUNK = 256 * 1024
"""Bytes that are rewritten at a time: a few milliseconds, after which others get their turn."""
BACKOFF = Backoff(first=0.1, cap=5.0)


class LogStream(Log):
    """What all logs have in common; they differ in where their bytes come from."""

    def __init__(self, config: LogConfig, context: LogContext) -> None:
        self.config, self._context, self._events = config, context, context.events
        self.name = f"log {context.name}"
        self.normaliser = Normaliser(config, context.now)
        self._output = LogOutput(config.output, lambda path: self._events.output_rotated(context.name, path))
        self._lines = self._events.lines(context.name)
        self._records = self._events.records(context.name)
        self._grown = 0.0
        self._draining = asyncio.Event()
        self._drained = asyncio.Event()

    async def start(self) -> None:
        """Open what is written to. Raises StartError."""
        await self._output.start()

    async def drain(self, deadline: Deadline) -> None:  # noqa: ARG002 - the supervisor cancels at the deadline
        """Return when everything that is there by now has been written."""
        self._draining.set()
        await self._drained.wait()

    async def stop(self) -> None:
        """Close what is written to."""
        self._output.stop()

    async def wait(self, seconds: float) -> None:
        """Sleep, unless there is a drain."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._draining.wait()

    def grown(self) -> None:
        """New lines have come."""
        self._grown = time.monotonic()

    def too_long_held(self) -> bool:
        """Whether lines have been kept back for as long as they may."""
        return time.monotonic() - self._grown >= self.config.hold

    async def pass_on(self, raw: bytes, *, final: bool) -> int:
        """Rewrite whole lines, each with its newline, and write them; returns how many bytes of them that were.

        Args:
            raw: the lines, those that were kept back the last time in front.
            final: keep nothing back.
        """
        if not self.normaliser.holds or len(raw) > LONGEST:
            final = True
        cleaned = clean(raw[:-1], 0, limit=self.config.max_line)
        lines = cleaned.text.split(b"\n")
        found = self.normaliser.normalise(lines, final=final)
        end = len(raw)
        for _ in range(found.held):
            end = raw.rfind(b"\n", 0, end - 1) + 1
        if not end:
            return 0
        if found.lines:
            await self._write(self.normaliser.render(found))
        self._lines.value += len(lines) - found.held
        self._records.value += len(found.lines)
        if found.held and (cleaned.truncated or cleaned.replaced):
            cleaned = clean(raw[: end - 1], 0, limit=self.config.max_line)  # without those kept back
        for what, count in {**found.notes, "truncated": cleaned.truncated, "not_text": cleaned.replaced}.items():
            if count:
                self._events.noted_lines(self._context.name, what, count)
        return end

    async def _write(self, data: bytes) -> None:
        """Write it all, however long that takes: what is not written is not read on from."""
        attempt = 0
        while data:
            try:
                written = await asyncio.to_thread(self._output.write, data)
            except OSError as error:
                self._events.write_failed(self._context.name, self._output.where, error, attempt)
                await asyncio.sleep(BACKOFF.delay(attempt, random.random()))  # noqa: S311 - for spreading, not for secrets
                attempt += 1
            else:
                data = data[written:]
                attempt = 0
