"""Reading many datagrams at a time: with one system call for all of them where the C library offers it.

A call for each datagram costs more than the lines in it. `recvmmsg(2)` takes them over in bulk; Python has no name for
it, so that it is called through ctypes. Where it is not to be had (another system, a sandbox), a plain call for each
datagram does the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import socket
import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple, Protocol

DATAGRAM = 65_536
"""Bytes kept of a datagram. None over IP is longer; of one over a unix socket the rest is cut off, which is told."""

AT_ONCE = 128
"""Datagrams taken with one call. Memory is used only for what they are long."""

_STRIDE = DATAGRAM + 192
"""From one datagram's place to the next; were it a power of two, they would push each other out of the cache."""

_RXQ_OVFL = 40
"""SO_RXQ_OVFL: the kernel then tells with a datagram how many it has dropped before. Python has no name for it."""

_MESSAGE = struct.Struct("@NiiI")
"""How it tells: `struct cmsghdr` with the number behind it."""

_CONTROL = 64
"""Bytes for what the kernel tells beside a datagram."""


class Taken(NamedTuple):
    """Datagrams in their order."""

    datagrams: Sequence[memoryview]
    """They hold until the reader is called again."""
    cut: Sequence[int]
    """The places of those that were longer than what was kept."""
    dropped: int | None
    """How many the kernel has dropped so far, modulo 2**32; None where it did not tell."""


class Reader(Protocol):
    """Takes what waits in a non-blocking socket, at most `AT_ONCE` datagrams."""

    def __call__(self) -> Taken:
        """Raises OSError for what the socket reports."""


def reader(sock: socket.socket) -> Reader:
    """The best that there is here."""
    if sock.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):  # the count is a comfort: a kernel without it (or a sandbox) still delivers
            sock.setsockopt(socket.SOL_SOCKET, _RXQ_OVFL, 1)
    call = recvmmsg()
    return OneByOne(sock) if call is None else InBulk(sock, call)


@cache
def recvmmsg() -> Callable[..., int] | None:
    """The C library's function, if it does what its manual says; tried out, for a sandbox may refuse the call."""
    call: Callable[..., int] | None = getattr(ctypes.CDLL(None, use_errno=True), "recvmmsg", None)
    if call is None or not hasattr(socket, "MSG_DONTWAIT"):
        return None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        theirs.send(b"two")
        theirs.send(b"words")
        try:
            taken = InBulk(ours, call)().datagrams
        except OSError:
            return None
        return call if [bytes(each) for each in taken] == [b"two", b"words"] else None


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """`struct msghdr`, as recvmsg(2) has it."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vectors", ctypes.c_void_p),
        ("vectors_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Header(ctypes.Structure):
    """`struct mmsghdr`, as recvmmsg(2) has it."""

    _fields_ = (("message", _Message), ("length", ctypes.c_uint))


class InBulk:
    """One system call for many datagrams, into places that were made ready once."""

    def __init__(self, sock: socket.socket, call: Callable[..., int]) -> None:
        self._sock, self._call = sock, call
        memory = mmap.mmap(
            -1, AT_ONCE * _STRIDE
        )  # unlike a bytearray's, pages that nothing was written to cost nothing
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        places = [at * _STRIDE for at in range(AT_ONCE)]
        self._places = [memoryview(memory)[place : place + DATAGRAM] for place in places]
        self._vectors = (_Vector * AT_ONCE)(*[_Vector(start + place, DATAGRAM) for place in places])
        self._headers = (_Header * AT_ONCE)()
        for header, vector in zip(self._headers, self._vectors, strict=True):
            header.message.vectors, header.message.vectors_length = ctypes.addressof(vector), 1
        # The first datagram of a call brings the count of drops; that is as often as anybody wants to know.
        self._first = self._headers[0].message
        self._control = bytearray(_CONTROL)
        self._first.control = ctypes.addressof(ctypes.c_char.from_buffer(self._control))
        words, width = memoryview(self._headers).cast("B").cast("I"), ctypes.sizeof(_Header) // 4
        self._lengths = words[_Header.length.offset // 4 :: width]
        self._flags = words[_Message.flags.offset // 4 :: width]
        self._asked = (ctypes.byref(self._headers), ctypes.c_uint(AT_ONCE), ctypes.c_int(socket.MSG_DONTWAIT), None)

    def __call__(self) -> Taken:
        """As `Reader` has it."""
        self._first.control_length = _CONTROL
        count = self._call(self._sock.fileno(), *self._asked)
        if count < 0:
            number = ctypes.get_errno()
            if number not in (errno.EAGAIN, errno.EINTR):
                raise OSError(number, os.strerror(number))
            return Taken((), (), None)
        lengths, flags = self._lengths[:count].tolist(), self._flags[:count].tolist()
        datagrams = [place[:length] for place, length in zip(self._places, lengths, strict=False)]
        cut = [at for at, each in enumerate(flags) if each & socket.MSG_TRUNC] if any(flags) else ()
        return Taken(datagrams, cut, self._dropped())

    def _dropped(self) -> int | None:
        if self._first.control_length < _MESSAGE.size:
            return None
        _, level, kind, dropped = _MESSAGE.unpack_from(self._control)
        return dropped if (level, kind) == (socket.SOL_SOCKET, _RXQ_OVFL) else None


class OneByOne:
    """A system call for each datagram, all into one buffer."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._view = memoryview(mmap.mmap(-1, AT_ONCE * (DATAGRAM + 1)))
        self._error: OSError | None = None

    def __call__(self) -> Taken:
        """As `Reader` has it."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        datagrams: list[memoryview] = []
        cut: list[int] = []
        dropped, end, view = None, 0, self._view
        try:
            # The first one with what the kernel says about drops, the others the fast way.
            size, ancillary, _, _ = self._sock.recvmsg_into([view[: DATAGRAM + 1]], _CONTROL)
            for level, kind, data in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, _RXQ_OVFL) and len(data) >= 4:
                    dropped = struct.unpack_from("=I", data)[0]
            while True:
                if size > DATAGRAM:
                    cut.append(len(datagrams))
                    size = DATAGRAM
                datagrams.append(view[end : end + size])
                end += size
                if len(datagrams) == AT_ONCE:
                    break
                size = self._sock.recv_into(view[end : end + DATAGRAM + 1])
        except BlockingIOError:
            pass
        except OSError as error:
            if not datagrams:
                raise
            self._error = error  # what was taken comes first
        return Taken(datagrams, cut, dropped)
