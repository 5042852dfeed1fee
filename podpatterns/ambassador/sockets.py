"""Listening sockets, and the end of a connection that must not look like a regular one."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from array import array
from contextlib import suppress
from pathlib import Path

from podpatterns.runtime.listening import cannot_listen
from podpatterns.runtime.units import Address

BACKLOG = 1024
"""Connections that the system queues for us."""

_RESET = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport) -> None:
    """Reset a connection: closing it would look like the end of a body that ends with its connection."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_NO_SYN = array(
    "B",
    b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in (
            (0x30, 0, 0, 13),  # load the byte with the flags of the TCP header
            (0x45, 0, 1, 0x02),  # if SYN is not among them, skip one
            (0x06, 0, 0, 0),  # drop it
            (0x06, 0, 0, 0xFFFFFFFF),  # let it pass
        )
    ),
)
"""A packet filter (classic BPF, linux/filter.h) that lets everything pass but the start of a new connection."""


def deafen(sock: socket.socket) -> None:
    """Let a listening socket take no new connection, while those that the system has queued can still be accepted.

    Closing it would reset whoever comes between the last look at the queue and the close. Whoever comes now is not
    answered; when it tries again, a second later, nobody listens. Where there are no such filters, nothing is done.
    """
    if sys.platform == "linux" and sock.family != socket.AF_UNIX:
        address, count = _NO_SYN.buffer_info()
        with suppress(OSError):  # a sandbox without filters
            sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", count // 8, address))


def undeafen(sock: socket.socket) -> None:
    """Let a listening socket take connections again."""
    if sys.platform == "linux" and sock.family != socket.AF_UNIX:
        with suppress(OSError):  # it was not deaf
            sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def group(address: Address, count: int) -> list[list[socket.socket]]:
    """Listening sockets for each of several processes, which share the address. Raises StartError, as `listening`.

    The system spreads connections among them evenly by their source. Only the first one is bound without SO_REUSEPORT,
    so that an address which another program uses is refused. Unix sockets know nothing of the kind: there all processes
    have the same one.
    """
    first = listening(address, reuse=True)
    if address.path is not None:
        return [[sock.dup() for sock in first] for _ in range(count - 1)] + [first]
    return [first, *([_twin(sock) for sock in first] for _ in range(count - 1))]


def _twin(first: socket.socket) -> socket.socket:
    dual = first.family == socket.AF_INET6 and not first.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    return _bound(first.family, first.getsockname()[:2], dual=dual, share=True, reuse=True)


def listening(address: Address, *, reuse: bool = False) -> list[socket.socket]:
    """Sockets that listen: one for each address of a name such as `localhost`. Raises StartError, saying what to do.

    With `reuse`, others of this user may listen to the same address from then on.
    """
    found: list[socket.socket] = []
    try:
        if address.path is not None:
            if Path(address.path).is_socket():
                Path(address.path).unlink()  # left behind by a process that was killed
            found.append(_bound(socket.AF_UNIX, address.path))
        elif not address.host and socket.has_dualstack_ipv6():
            found.append(_bound(socket.AF_INET6, ("::", address.port), dual=True, reuse=reuse))
        else:
            for family, place in _places(address):
                port = found[0].getsockname()[1] if found else address.port
                found.append(_bound(family, (place, port), reuse=reuse))
    except OSError as error:
        for sock in found:
            sock.close()
        raise cannot_listen("the listener", address, error, "set another address") from None
    return found


def _places(address: Address) -> list[tuple[socket.AddressFamily, str]]:
    """The addresses of a host, IPv4 first; those that this machine does not have are left out."""
    infos = socket.getaddrinfo(
        address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
    )
    places = {(info[0], str(info[4][0])) for info in infos}
    return sorted(places, key=lambda place: (place[0] != socket.AF_INET, place[1]))


def _bound(
    family: int, place: tuple[str, int] | str, *, dual: bool = False, share: bool = False, reuse: bool = False
) -> socket.socket:
    sock = socket.socket(family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(place)
        if reuse:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.listen(BACKLOG)
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
    except OSError:
        sock.close()
        raise
    return sock
