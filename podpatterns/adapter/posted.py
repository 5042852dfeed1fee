"""Metrics that others post over HTTP: the listener, and what comes compressed."""

from __future__ import annotations

import zlib

from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.inputs import Input
from podpatterns.adapter.receiving import named
from podpatterns.errors import StartError
from podpatterns.runtime.http_server import Handle, HttpServer
from podpatterns.runtime.units import Address


class TooLarge(ValueError):  # noqa: N818 - named after what is wrong
    """The body is larger than allowed."""


class Posted(Input):
    """Serves one handler; bodies have at most `max_body` bytes, compressed or not."""

    def __init__(self, noun: str, listen: Address, answer: Handle, events: AdapterEvents, max_body: int) -> None:
        self.name = f"{noun} input on {listen}"
        self.address = listen
        """Where it listens; with the real port after `start` where the configured one is 0."""
        self._noun, self._events = noun, events
        self._server = HttpServer(answer, max_body)

    async def start(self) -> None:
        """Listen. Raises StartError when the address is taken."""
        try:
            port = await self._server.start(self.address)
        except OSError as error:
            raise StartError(
                f"the {self._noun} input cannot listen on {self.address}: {error.strerror or error}; "
                f"set `listen` of the {self._noun} input to a free address"
            ) from None
        if self.address.path is None:
            self.address = Address(named(self.address.host, port))
        self._events.input_listening(self._noun, str(self.address))

    async def stop(self) -> None:
        """Answer what is under way, and close."""
        await self._server.close()


def unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """A body without its Content-Encoding, but never more than `limit` bytes: a small one may stand for a huge one.

    Raises:
        TooLarge: it has more bytes.
        ValueError: it is neither plain nor one whole gzip member.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        data = body
    elif encoding == "gzip":
        decoder = zlib.decompressobj(wbits=31)
        try:
            data = decoder.decompress(body, limit + 1)
        except zlib.error as error:
            raise ValueError(f"the body is not gzip: {error}") from None
        if len(data) <= limit and (not decoder.eof or decoder.unused_data):
            raise ValueError("the body is not one whole gzip member")
    else:
        raise ValueError(f"the content encoding {encoding} is not known; send gzip or none")
    if len(data) > limit:
        raise TooLarge(f"a body may have {limit} bytes, decompressed")
    return data
