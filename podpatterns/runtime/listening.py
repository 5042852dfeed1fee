"""Telling what cannot listen where, and what to do about it: the same way for whatever listens."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from podpatterns.errors import StartError
from podpatterns.runtime.units import Address

FOR_ALL = 1024
"""The first port that a process without privileges may listen on, unless the machine says otherwise."""


@contextmanager
def listening(what: str, address: Address | str, remedy: str) -> Iterator[None]:
    """Open a listener in this block; `remedy` says what to do where it cannot be. Raises StartError for an OSError."""
    try:
        yield
    except OSError as error:
        raise cannot_listen(what, address, error, remedy) from None


def cannot_listen(what: str, address: Address | str, error: OSError, remedy: str) -> StartError:
    """What to raise for an error of bind or listen."""
    return StartError(f"{what} cannot listen on {address}: {reason(error)}; {advice(address, error)}{remedy}")


def reason(error: OSError) -> str:
    """The system's words, without those that asyncio puts around them."""
    number = error.errno or 0  # a look-up that fails has numbers of its own
    return os.strerror(number).lower() if number in errno.errorcode else str(error.strerror or error)


def advice(address: Address | str, error: OSError) -> str:
    """What the error means for this address, ending in "; "; empty if the words say it all."""
    path, port = (address.path, address.port) if isinstance(address, Address) else (None, 0)
    if path is not None and error.errno in (errno.EACCES, errno.ENOENT, errno.EROFS):
        return f"its folder must be there, and writable for uid {os.getuid()}; "
    if error.errno == errno.EACCES and port < FOR_ALL:
        return f"ports below {FOR_ALL} are for root and the capability NET_BIND_SERVICE; "
    return _ADVICE.get(error.errno or 0, "")


_ADVICE = {
    errno.EADDRINUSE: "end the process that has it (ss -lntup shows it), or ",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address; ",
}
