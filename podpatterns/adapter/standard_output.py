"""The process's standard output, which several parts of the adapter write to: by whole lines, one after the other.

It belongs to the data: logs go to standard error. Everything here blocks and belongs into a thread, but never for long:
a pipe that nobody reads must not hold a thread, for a process does not end before its threads do.
"""

from __future__ import annotations

import os
import select
import stat
import threading

PATIENCE = 0.2
"""Seconds for which a write waits for a reader, or for its turn."""

_STDOUT = 1


class _Turn:
    """Who may write: a process has one standard output, and so one of these."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.torn = False
        """Whoever had it last has gone in the middle of a line."""


_TURN = _Turn()


class LineWriter:
    """One of those who write. While it is in the middle of a line, nobody else has a turn."""

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self._inside = self._over = False

    def write(self, data: bytes) -> int:
        """Write whole lines as far as they are taken now, and say how many bytes that was: perhaps none.

        The rest has to come next, also where it begins in the middle of a line.

        Raises:
            OSError: nothing was written.
        """
        with self._busy:
            sent = 0 if self._over else self._write(data)
        if self._over:
            self._let_go()
        return sent

    def _write(self, data: bytes) -> int:
        if not self._inside and not _TURN.lock.acquire(timeout=PATIENCE):
            return 0
        sent = 0
        try:
            if _TURN.torn:
                if not _put(b"\n", PATIENCE):
                    return 0
                _TURN.torn = False
            size = len(data) if stat.S_ISREG(os.fstat(_STDOUT).st_mode) else select.PIPE_BUF
            while sent < len(data):
                # A pipe takes so much at once or not at all. Whole lines where that is enough for one: another process
                # may write to the same pipe.
                end = data.rfind(b"\n", sent, sent + size) + 1 or sent + size
                put = _put(data[sent:end], 0 if sent else PATIENCE)
                if not put:
                    break
                sent += put
                self._inside = data[sent - 1 : sent] != b"\n"
        except OSError:
            if not sent:
                raise
        finally:
            if not self._inside:
                _TURN.lock.release()
        return sent

    def close(self) -> None:
        """Give up what has not been written; a line that was begun ends here."""
        self._over = True
        if self._busy.acquire(blocking=False):  # else whoever writes sees it, soon
            self._busy.release()
            self._let_go()

    def _let_go(self) -> None:
        with self._busy:
            if self._inside:
                self._inside, _TURN.torn = False, True
                _TURN.lock.release()


def _put(data: bytes, patience: float) -> int:
    """Hand something over; 0 if there is no room for so long."""
    ready = select.poll()
    ready.register(_STDOUT, select.POLLOUT)
    return os.write(_STDOUT, data) if ready.poll(patience * 1000) else 0
