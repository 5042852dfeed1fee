"""One file, in one generation, from its first byte to its last.

When a file turns out to have been truncated, its generation ends: a new follower takes over the descriptor, and the old
one keeps its account, and reads on in the copy if rotation has left one.

Whole lines, a line longer than a read, a line without its end, a hole, a part that is read again: all of them move the
same few numbers, and a mistake in one would be a line lost or repeated in another. So they stand together.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from podpatterns.formats.encodings import Encoding
from podpatterns.formats.lines import Lines, clean, line_count, line_offsets
from podpatterns.formats.rotation import PREFIX, hashed
from podpatterns.sidecar.batch import Batch, Source
from podpatterns.sidecar.budget import CHUNK, LINES
from podpatterns.sidecar.files.identity import BEFORE, Entry, Position
from podpatterns.sidecar.files.positions import Positions
from podpatterns.sidecar.ledger import Account

SEARCHED = 16 << 20
"""Bytes of a single line that are gone through before it is the others' turn."""


class Truncated(Exception):  # noqa: N818 - what has happened to the file
    """The file no longer holds what was read from it."""


class Mark(NamedTuple):
    """What a follower notes on each batch: what to remember once it is acknowledged."""

    follower: Follower
    end: int
    before: bytes
    open_line: bool
    torn: bool = False
    """A line of it goes out without its end or its beginning."""


Held = Callable[[bytes, int, int], int]
"""How many of the last lines of a piece of some bytes may belong together with lines to come."""


class Follower:
    """Reads one file. `offset` is how far, `committed` how far that has been acknowledged."""

    def __init__(
        self,
        entry: Entry,
        descriptor: int | None,
        *,
        limit: int,
        encoding: Encoding,
        fields: Mapping[str, Any],
        held: Held | None = None,
        hold: float = 0.0,
        outputs: Sequence[str] = (),
        most: Callable[[], tuple[int, int]] = lambda: (CHUNK, LINES),
    ) -> None:
        self.id, self.generation = entry.id, entry.generation
        self.path, self.dev, self.ino = entry.path, entry.dev, entry.ino
        self.descriptor = descriptor
        self.account = entry.account
        self.offset = self.committed = entry.offset
        self.positions = Positions(outputs, entry)
        self.size = entry.size
        self.at_end = False
        """Nothing is left to read but, perhaps, a line without an end."""
        self.missing_since: float | None = None
        self.grown_at = 0.0
        self.torn = 0
        """Bytes at the end that are the beginning of a character."""
        self.due: float | None = None
        """When lines that are kept back will have waited long enough for more, unless more comes."""
        self._fields = fields
        self._held, self._hold = held, hold
        self._most = most
        self._limit, self._encoding = limit, encoding
        self._mtime = -1
        self._scanned = 0  # how far a line that is too long has been searched for its end
        self._open_line = self._committed_open_line = entry.open_line
        self._prefix = b""
        self._before = b""
        if descriptor is not None:
            self._prefix = os.pread(descriptor, PREFIX, 0)
            self._before = os.pread(descriptor, entry.before[0], self.offset - entry.before[0])
            self._encoding = encoding.told_by(self._prefix)
        self._committed_before = self._before
        self._saved_prefix = entry.prefix
        self._entry: Entry | None = None
        self._entry_state: tuple[int, ...] = ()
        self.source = Source(self.path, f"{self.id}/{self.generation}", fields)
        self._named = self  # by the marks

    def __repr__(self) -> str:
        return f"<Follower {self.path} generation {self.generation}: {self.committed} ≤ {self.offset} ≤ {self.size}>"

    @property
    def acknowledged(self) -> bool:
        """Everything that was read has come back."""
        return self.committed == self.offset

    @property
    def unread(self) -> int:
        """Bytes known to be there and not read yet."""
        return max(0, self.size - self.offset)

    def shrunk(self) -> bool:
        """Look at the file's size without reading on; True if it has been truncated."""
        if self.descriptor is None:
            return False
        size = os.fstat(self.descriptor).st_size
        if size < self.size:
            return True
        if size > self.size:
            self.size, self.at_end = size, False
        return False

    @property
    def prefix(self) -> bytes:
        """The first bytes, as far as they are there."""
        if self.descriptor is not None and len(self._prefix) < PREFIX:
            now = os.pread(self.descriptor, PREFIX, 0)
            if now.startswith(self._prefix):  # else it has been truncated, which is for `read` to notice
                self._prefix = now
        return self._prefix

    def move(self, descriptor: int, dev: int, ino: int, size: int) -> bool:
        """Read on in a copy of the file, if it is one: up to its `size`."""
        if (
            size < self.offset
            or os.pread(descriptor, len(self._before), self.offset - len(self._before)) != self._before
        ):
            return False
        self.descriptor, self.dev, self.ino, self.size = descriptor, dev, ino, size
        self._mtime, self.at_end = -1, False
        return True

    def entry(self) -> Entry:
        """For the checkpoint; made anew only when something has changed, since there may be a thousand quiet files."""
        account = self.account
        state = self.committed, self.size, len(self._prefix), self.ino, account.settled, account.lost_bytes
        if self._entry is None or state != self._entry_state:
            prefix = (len(self._prefix), hashed(self._prefix)) if self._prefix else self._saved_prefix
            self._entry_state = state
            self._entry = Entry(
                id=self.id,
                generation=self.generation,
                path=self.path,
                dev=self.dev,
                ino=self.ino,
                offset=self.committed,
                size=self.size,
                prefix=prefix,
                before=(len(self._committed_before), hashed(self._committed_before)),
                open_line=self._committed_open_line,
                outputs=self.positions.beyond(self.committed),
                dead=self.positions.dead_beyond(self.committed),
                account=account.saved(),
            )
        return self._entry

    def commit(self, batch: Batch, dead: int) -> None:
        """A batch of this file is settled."""
        mark: Mark = batch.mark
        self.account.settle(batch, dead)
        if batch.end == mark.end:
            self.committed = mark.end
            self._committed_before = mark.before
            self._committed_open_line = mark.open_line

    def reached(self, batch: Batch, output: str, dead: Sequence[int]) -> None:
        """One of several outputs is done with a batch; `dead` are the offsets of what any has refused so far."""
        mark: Mark = batch.mark
        self.positions.remember(dead)
        if batch.end == mark.end and self.positions.reach(output, Position(mark.end, mark.open_line)):
            self._entry = None

    # --- reading again --------------------------------------------------------------------------------------------

    def again(self, start: int, mark: Mark, size: int) -> list[Batch]:
        """Batches of about `size` bytes together, from `start` on and no further than the one that had this mark.

        Raises:
            Truncated: what is to be read is no longer there.
        """
        if not self._is_there(mark):
            raise Truncated
        before = min(BEFORE, start), ""
        entry = msgspec.structs.replace(
            self.entry(), offset=start, before=before, open_line=False, outputs={}, dead=[], account=Account()
        )
        twin = Follower(
            entry,
            self.descriptor,
            limit=self._limit,
            encoding=self._encoding,
            fields=self._fields,
            held=self._held,
            hold=self._hold,
            most=self._most,
        )
        twin.source, twin._named = self.source, self
        twin.positions.stop_at(mark.end)
        found: list[Batch] = []
        while twin.offset < mark.end and twin.offset - start < size:
            got = twin.read(0.0)
            if got is None:
                if twin.due == 0.0:
                    continue  # in the middle of a line that is very long
                raise Truncated
            found.append(got[0])
        if not self._is_there(mark):
            raise Truncated  # while it was read
        return found

    def _is_there(self, mark: Mark) -> bool:
        length = len(mark.before)
        return self.descriptor is not None and os.pread(self.descriptor, length, mark.end - length) == mark.before

    # --- reading --------------------------------------------------------------------------------------------------

    def read(self, now: float, *, final: bool = False, gone: bool = False) -> tuple[Batch, Lines] | None:
        """The next lines, or None if there is no whole line.

        Args:
            now: the time, in seconds.
            final: what is left counts as a line, as far as it is whole characters.
            gone: nothing more will come, not even the rest of a character.

        Raises:
            Truncated: what was read is no longer there.
        """
        if self.descriptor is None:
            return None
        status = os.fstat(self.descriptor)
        if status.st_size < self.size:
            raise Truncated
        if status.st_size != self.size or status.st_mtime_ns != self._mtime:
            self.grown_at = now
        elif self.at_end and not final:
            return None
        self.due = None
        chunk, lines = self._most()
        stop = self.positions.stop
        left = sys.maxsize if stop is None else stop - self.offset
        data = self._pread(min(chunk, left))
        # Not before: where the contents are others, this is the size of what has taken their place.
        self.size, self._mtime = status.st_size, status.st_mtime_ns
        encoding = self._encoding
        if self.generation and not self.offset and data.startswith(bytes(encoding.unit)):
            return self._hole(data)
        begin = len(self._before)
        end = encoding.rfind(data, begin)
        stopped = len(data) - begin == left
        if end >= 0:
            self.at_end = False
            end, fewer = self._fewer(data, begin, end, lines)
            full = fewer or len(data) - begin == chunk
            # Behind a full piece more has come already, however long ago.
            wait = not final and not stopped and (full or now - self.grown_at < self._hold)
            return self._whole_lines(data, begin, end, full=full, wait=wait)
        if len(data) - begin == chunk:
            return self._long_line(chunk, final=final)
        self.at_end = not stopped
        if not final and not stopped:
            return None
        rest = data[begin:]
        size = len(rest) if gone or stopped else encoding.whole(rest)
        self.torn = len(rest) - size
        return self._batch(rest[:size], size, data, open_line=True) if size else None

    def _pread(self, size: int) -> bytes:
        assert self.descriptor is not None
        begin = len(self._before)
        data = os.pread(self.descriptor, size + begin, self.offset - begin)
        if not data.startswith(self._before) or not self._begins_as_before(data):
            raise Truncated
        if len(self._prefix) < PREFIX and len(data) > begin:
            self._prefix = os.pread(self.descriptor, PREFIX, 0)
            self._encoding = self._encoding.told_by(self._prefix)
        return data

    def _begins_as_before(self, data: bytes) -> bool:
        """Of a file of which nothing has been read, but whose first bytes have been looked at."""
        length = 0 if self.offset else min(len(data), len(self._prefix))
        return data[:length] == self._prefix[:length]

    def _whole_lines(self, data: bytes, begin: int, end: int, *, full: bool, wait: bool) -> tuple[Batch, Lines] | None:
        """`full`: there may be more than `data`. `wait`: lines of which more may come are kept back."""
        encoding = self._encoding
        if self._open_line:
            # The end of a line whose beginning was shipped before the restart: a record of its own.
            end = encoding.find(data, begin)
        elif wait and self._held is not None:
            last = end
            for _ in range(self._kept_back(data, begin, end, self._held)):
                end = encoding.rfind(data, begin, end)
            if end < 0:
                end = last
                if not full:
                    self.due = self.grown_at + self._hold
                    return None  # all of it may belong together with what comes
        return self._batch(data[begin:end], end + len(encoding.newline) - begin, data)

    def _fewer(self, data: bytes, begin: int, end: int, lines: int) -> tuple[int, bool]:
        """Where to end for no more than so many lines, and whether that is before `end`."""
        newline, short = self._encoding.newline, False
        if len(newline) == 1 and line_count(data) <= lines:
            return end, False
        while (count := data.count(newline, begin, end)) >= lines:
            part = (end - begin) * lines * 7 // (8 * count)
            found = self._encoding.rfind(data, begin, begin + part - part % self._encoding.unit)
            end, short = found if found >= 0 else self._encoding.find(data, begin), True
        return end, short

    def _kept_back(self, data: bytes, begin: int, end: int, held: Held) -> int:
        if self._encoding.plain:
            return held(data, begin, end)
        text = self._cleaned(data[begin:end]).text
        return held(text, 0, len(text))

    def _hole(self, data: bytes) -> tuple[Batch, Lines]:
        """A writer that does not append goes on at its old position in a truncated file: what lies before is a hole."""
        assert self.descriptor is not None
        nuls = len(data) - len(data.lstrip(b"\0"))
        # Nothing but a hole, or a file system that knows of none: what was read counts.
        with suppress(OSError):
            nuls = max(nuls, os.lseek(self.descriptor, 0, os.SEEK_DATA))
        nuls -= nuls % self._encoding.unit  # a character may begin with a zero
        return self._skip(nuls, self._tail(nuls))

    def _skip(self, size: int, data: bytes) -> tuple[Batch, Lines]:
        start = self.offset
        self._advance(size, data)
        mark = Mark(self._named, self.offset, self._before, open_line=False)
        batch = Batch(self.source, None, start, self.offset, lines=[], mark=mark)
        batch.taken, batch.dead = self.positions.taken(batch.start, batch.end)
        return batch, Lines(b"", [], 0, 0)

    def _batch(self, raw: bytes, size: int, data: bytes, *, open_line: bool = False) -> tuple[Batch, Lines]:
        """`raw` as lines; it takes `size` bytes of the file, and `data` goes at least as far."""
        continues = self._open_line
        until = data[max(0, len(self._before) + size - BEFORE) : len(self._before) + size]
        if continues and not raw and not open_line:
            self._open_line = False
            return self._skip(size, until)  # nothing but the newline was missing
        if open_line and not self.offset and len(raw) == self._encoding.mark(raw):
            return self._skip(size, until)  # nothing but the mark is there
        return self._emitted(self._cleaned(raw), size, until, continues=continues, open_line=open_line)

    def _cleaned(self, raw: bytes) -> Lines:
        """The next bytes, as lines; a mark of the byte order at the start of the file is no part of the first one."""
        mark = 0 if self.offset else self._encoding.mark(raw)
        lines = clean(raw[mark:], self.offset + mark, limit=self._limit, encoding=self._encoding)
        if mark and lines.offsets is None:
            return lines._replace(offsets=line_offsets(lines.text.split(b"\n"), mark))
        return lines

    def _emitted(
        self, lines: Lines, size: int, data: bytes, *, continues: bool = False, open_line: bool = False
    ) -> tuple[Batch, Lines]:
        start = self.offset
        self._advance(size, data)
        self._open_line = open_line
        mark = Mark(self._named, self.offset, self._before, open_line, torn=open_line or continues)
        fields = {name: True for name, on in (("partial", open_line), ("continues", continues)) if on}
        batch = Batch(
            self.source,
            lines.text,
            start,
            self.offset,
            decoded=lines.decoded,
            offsets=lines.offsets,
            fields=fields or None,
            mark=mark,
        )
        batch.taken, batch.dead = self.positions.taken(batch.start, batch.end)
        self.account.read += batch.read
        return batch, lines

    def _tail(self, end: int) -> bytes:
        """The bytes just before a position."""
        assert self.descriptor is not None
        begin = max(0, end - BEFORE)
        return os.pread(self.descriptor, end - begin, begin)

    def _advance(self, size: int, data: bytes) -> None:
        """Go on by `size` bytes; `data` ends there."""
        self.offset += size
        self._before = data[-BEFORE:]
        self._scanned = 0

    def _long_line(self, chunk: int, *, final: bool) -> tuple[Batch, Lines] | None:
        """A line longer than a chunk: search for its end in pieces, keep no more of it than the limit."""
        assert self.descriptor is not None
        encoding = self._encoding
        position = max(self._scanned, self.offset)
        turn = position + SEARCHED
        stop = self.positions.stop or sys.maxsize
        while True:
            piece = os.pread(self.descriptor, min(chunk, stop - position), position)
            found = encoding.find(piece)
            if found >= 0:
                position += found
                break
            size = len(piece) - len(piece) % encoding.unit
            position += size
            self._scanned = position
            if not size:
                self.at_end = True
                if not final and position < stop:
                    return None
                break
            if position >= turn and not final:
                self.due = 0.0  # at once, but the others first
                return None
        self.at_end = False
        begin = len(self._before)
        # A character over the limit and a carriage return tell a line that is too long from one that ends there.
        whole = self._pread(min(position - self.offset, self._limit + 2 * encoding.unit))[begin:]
        newline = 0 if found < 0 else len(encoding.newline)
        continues = self._open_line
        size = position + newline - self.offset
        lines = self._cleaned(whole)
        return self._emitted(lines, size, self._tail(self.offset + size), continues=continues, open_line=not newline)

    def close(self) -> None:
        """Let go of the file."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None
