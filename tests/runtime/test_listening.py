"""What is said when an address is not to be had."""

import errno
import os
import socket

import pytest

from podpatterns.errors import StartError
from podpatterns.runtime.listening import cannot_listen, listening
from podpatterns.runtime.units import Address

NONE = "no interface of this machine has that address; "
USED = "end the process that has it (ss -lntup shows it), or "
LOW = "ports below 1024 are for root and the capability NET_BIND_SERVICE; "
FOLDER = f"its folder must be there, and writable for uid {os.getuid()}; "


@pytest.mark.parametrize(
    ("address", "number", "said"),
    [
        (":9801", errno.EADDRINUSE, f"address already in use; {USED}"),
        (":80", errno.EACCES, f"permission denied; {LOW}"),
        (":8080", errno.EACCES, "permission denied; "),
        ("10.9.9.9:80", errno.EADDRNOTAVAIL, f"cannot assign requested address; {NONE}"),
        ("unix:/x/s", errno.ENOENT, f"no such file or directory; {FOLDER}"),
        ("unix:/x/s", errno.EADDRINUSE, f"address already in use; {USED}"),
    ],
)  # fmt: skip
def test_the_advice_fits_the_error(address, number, said):
    """The system's words without asyncio's around them; what it means here; what to do."""
    error = OSError(number, f"error while attempting to bind on address ({address!r}): {os.strerror(number)}")
    raised = cannot_listen("the page", Address(address), error, "set `listen`")
    assert str(raised) == f"the page cannot listen on {address}: {said}set `listen`"


def test_a_port_that_is_taken_is_a_start_error():
    """Whatever the block does; other errors pass."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address(f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(StartError, match=r"already in use; end the process"), listening("x", address, "set it"):
            socket.create_server((address.host, address.port))
    with (
        pytest.raises(StartError, match=r"not known|resolution"),
        listening("x", Address("no.host.invalid:1"), "set it"),
    ):
        socket.create_server(("no.host.invalid", 1))
    with pytest.raises(ValueError, match=r"^other$"), listening("x", address, "set it"):
        raise ValueError("other")
