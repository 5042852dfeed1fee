"""The forker: a process that does nothing but fork workers, and say when one of them has ended.

It is forked from the parent when that starts. What the parent's event loop has open is closed in it at once; it never
returns into the parent's code, and leaves only by `os._exit`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import select
import signal
import socket
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from podpatterns.errors import StartError

Work = Callable[[int, socket.socket, socket.socket], int]
"""What a worker does, with its number, its channel, and the socket on which it is sent listening sockets; returns its
exit status."""

_PACKET = 4096
_QUIET = (signal.SIGTERM, signal.SIGINT)
"""Signals to a whole group (a terminal's Ctrl-C, systemd) are the parent's to interpret."""


@dataclass(frozen=True, slots=True)
class Forked:
    """A worker has begun."""

    index: int
    pid: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker has ended; `status` is negative for a signal, as in subprocess."""

    index: int
    pid: int
    status: int


class Forker:
    """The parent's side."""

    def __init__(self, work: Work, heard: Callable[[Forked | Ended | None], None]) -> None:
        """Fork the forker; `heard` is told what happens, and None if the forker has gone.

        Raises StartError if there are threads: a fork would leave their locks locked for ever.
        """
        if threading.active_count() > 1:
            raise StartError(
                "workers are forked, which a process with threads must not do; run the ambassador as a process of its "
                "own (podpatterns run), or set workers: 1"
            )
        self._sock, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [*_QUIET, signal.SIGCHLD])
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _forever(other, work)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        other.close()
        self._sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._heard = heard
        asyncio.get_running_loop().add_reader(self._sock, self._read)

    def fork(self, index: int) -> tuple[socket.socket, socket.socket]:
        """Ask for a worker; the parent's ends of its channel, and of the socket for listening sockets."""
        ours, theirs = socket.socketpair()
        doors, their_doors = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, their_doors:
            socket.send_fds(self._sock, [pickle.dumps(index)], [theirs.fileno(), their_doors.fileno()])
        return ours, doors

    def _read(self) -> None:
        data = self._sock.recv(_PACKET)
        if not data:
            asyncio.get_running_loop().remove_reader(self._sock)
        self._heard(pickle.loads(data) if data else None)  # noqa: S301 - written by a fork of ourselves

    def close(self) -> None:
        """Let it end; workers go on until their channels are closed."""
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _forever(sock: socket.socket, work: Work) -> None:
    """In the forker."""
    status = 1
    try:
        _let_go(sock.fileno())
        _reset_signals()
        gc.collect()
        gc.freeze()  # a collection in a worker would copy every page that it marks
        status = _serve(sock, work)
    except BaseException:  # noqa: BLE001 - see `_guarded`
        traceback.print_exc()
    finally:
        os._exit(status)


def _let_go(keep: int) -> None:
    """Close what the parent has open, but keep the numbers.

    There are objects that still know them, libuv's among them, and would close whatever has them next.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in [int(each.name) for each in Path("/dev/fd").iterdir()]:
        if fd > 2 and fd not in {keep, nothing}:
            with suppress(OSError):  # the one that the listing itself has used
                os.fstat(fd)
                os.dup2(nothing, fd, inheritable=False)


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in _QUIET:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [*_QUIET, signal.SIGCHLD])


def _serve(channel: socket.socket, work: Work) -> int:
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken)
    workers: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([channel.fileno(), wake], [], [])
        if wake in ready:
            os.read(wake, _PACKET)
            for ended in _reap(workers):
                channel.send(pickle.dumps(ended))
        if channel.fileno() in ready:
            data, fds, _, _ = socket.recv_fds(channel, _PACKET, 2)
            if not data:
                return 0
            index = pickle.loads(data)  # noqa: S301 - written by our parent
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for fd in (wake, woken, channel.detach()):
                    os.close(fd)
                os._exit(_guarded(work, index, *(socket.socket(fileno=fd) for fd in fds)))
            for fd in fds:
                os.close(fd)
            workers[pid] = index
            channel.send(pickle.dumps(Forked(index, pid)))


def _guarded(work: Work, index: int, control: socket.socket, doors: socket.socket) -> int:
    try:
        return work(index, control, doors)
    except BaseException:  # noqa: BLE001 - the last frame of a process: what is not shown here is not shown at all
        traceback.print_exc()
        return 1


def _reap(workers: dict[int, int]) -> list[Ended]:
    ended = []
    while workers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            break
        ended.append(Ended(workers.pop(pid), pid, os.waitstatus_to_exitcode(status)))
    return ended
