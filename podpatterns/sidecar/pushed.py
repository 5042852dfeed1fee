"""What the inputs share to which others send: lines with a fate that the sender may be told, and no position.

The log file is no buffer here: what has been received and not yet delivered is in memory alone. So the sender, where
its protocol lets it, gets its acknowledgement only when every output has taken what it sent, and keeps it until then;
and where the protocol has none, nothing more is read from it while the outputs are away.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from podpatterns.formats.lines import MARKER, clean, cut
from podpatterns.sidecar.batch import MESSAGE, Batch, Source
from podpatterns.sidecar.inputs import Emit, Input, InputContext
from podpatterns.sidecar.ledger import Account


class Refused(Exception):  # noqa: N818 - named after what happens
    """Nothing is taken any more: the sidecar is draining."""


class Ticket(NamedTuple):
    """What stands on a batch: whom to tell, and where the last piece of it ends."""

    done: asyncio.Future[None]
    end: int


class PushedInput(Input):
    """Takes lines from whoever calls `take`; what derives from it listens."""

    def __init__(self, context: InputContext, *, where: str, limit: int, fields: Mapping[str, Any]) -> None:
        self._context = context
        self._events = context.events
        self._read_bytes = context.events.read_bytes(context.name)
        self._limit = limit
        self._account = Account()
        # Unlike a file's, this identity begins anew with each process: the senders' own retries have new ids.
        self.source = Source(where, f"{context.name}/{uuid.uuid4()}", fields)
        self._position = 0
        self._emit: Emit | None = None
        self._ready = asyncio.Event()
        self._turn = asyncio.Lock()
        self.draining = asyncio.Event()

    # --- what derives from it calls --------------------------------------------------------------------------------

    def turn_away(self, reason: str) -> None:
        """Say why a sender is not listened to."""
        self._events.sender_refused(self._context.name, reason)

    async def take(self, messages: Sequence[bytes], fields: Mapping[str, Any] | None = None) -> None:
        """Hand messages on; return when every output has taken them (or they are safe as dead letters).

        Args:
            messages: a message each; one may have several lines.
            fields: added to each record, beside those of the source.

        Raises:
            Refused: the sidecar is draining, and nothing of it was taken.
        """
        done = await self.put(messages, fields)
        await done

    async def put(self, messages: Sequence[bytes], fields: Mapping[str, Any] | None = None) -> asyncio.Future[None]:
        """The same, but return as soon as there is room for more; the future tells when they are taken."""
        if self.draining.is_set():
            raise Refused
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not messages:
            done.set_result(None)
            return done
        await self._ready.wait()
        await self._in_turn(messages, fields, done)
        return done

    async def pass_on(self, messages: Sequence[bytes], fields: Mapping[str, Any] | None = None) -> None:
        """Hand messages on that nobody waits for, also while draining; return when there is room for more."""
        if not messages:
            return
        await self._ready.wait()
        await self._in_turn(messages, fields, asyncio.get_running_loop().create_future())

    async def pass_on_text(self, text: bytes) -> None:
        """The same for lines in one piece."""
        async with self._turn:
            await self._hand_on(self._lines(text, None, asyncio.get_running_loop().create_future()))

    async def _in_turn(
        self, messages: Sequence[bytes], fields: Mapping[str, Any] | None, done: asyncio.Future[None]
    ) -> None:
        async with self._turn:  # batches are emitted, and come back, in the order of their positions
            joined = b"\n".join(messages)
            if messages and joined.count(b"\n") >= len(messages):  # one of them holds a line end
                await self._hand_on(self._folded(messages, fields, done))
            else:
                await self._hand_on(self._lines(joined, fields, done))

    async def _hand_on(self, batch: Batch) -> None:
        assert self._emit is not None, "run"
        self._position = batch.end
        self._read_bytes.value += batch.end - batch.start
        self._account.read += batch.read
        await self._emit(batch)

    def _lines(self, raw: bytes, fields: Mapping[str, Any] | None, done: asyncio.Future[None]) -> Batch:
        start, end = self._position, self._position + len(raw) + 1
        lines = clean(raw, start, limit=self._limit)
        self._events.lines_altered(self.source.name, lines)
        mark = Ticket(done, end)
        return Batch(self.source, lines.text, start, end, offsets=lines.offsets, fields=fields, mark=mark)

    def _folded(self, messages: Sequence[bytes], fields: Mapping[str, Any] | None, done: asyncio.Future[None]) -> Batch:
        """Messages that have newlines in them are records from the start: a batch's text has a line for each."""
        start, offsets, texts = self._position, [], []
        for message in messages:
            offsets.append(start)
            start += len(message) + 1
            # Each line of it may be as long as the limit, and all of them together.
            long = len(message) > self._limit
            lines = clean(cut(message, self._limit) if long else message, 0, limit=self._limit)
            self._events.lines_altered(self.source.name, lines._replace(truncated=int(long)))
            texts.append(lines.text + MARKER if long else lines.text)
        flat = [text.replace(b"\n", b" ") for text in texts]
        mark = Ticket(done, start)
        batch = Batch(self.source, None, self._position, start, lines=flat, offsets=offsets, fields=fields, mark=mark)
        return batch.with_records([{MESSAGE: text.decode()} for text in texts])

    # --- what the sidecar calls ------------------------------------------------------------------------------------

    async def run(self, emit: Emit) -> None:
        """Let what is taken pass."""
        self._emit = emit
        self._ready.set()
        await asyncio.Event().wait()

    async def drain(self) -> None:
        """Take nothing new; return when everything that was taken has been emitted."""
        self.draining.set()
        await self._close()
        async with self._turn:
            pass

    async def _close(self) -> None:
        """Take nothing new, and let senders wait for their acknowledgements."""

    def commit(self, batch: Batch, dead: int) -> None:
        """Tell whoever waits."""
        self._account.settle(batch, dead)
        ticket: Ticket = batch.mark
        if batch.end == ticket.end and not ticket.done.done():
            ticket.done.set_result(None)  # not before the last piece, if the batch was gone through line by line
        self._context.touch()

    async def start(self, entries: Any) -> None:
        """Go on with the account; what derives from it listens. Raises StartError."""
        if entries is not None:
            self._account.add(msgspec.convert(entries, Account))

    def snapshot(self) -> Any:
        """The account: there is no position."""
        return msgspec.to_builtins(self._account.saved())

    def accounts(self) -> Iterable[tuple[str, Account, Mapping[str, Any]]]:
        """One."""
        yield self.source.name, self._account, {}
