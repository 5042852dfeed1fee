"""Lines that others post."""

from __future__ import annotations

import hmac
from typing import Any, ClassVar

import msgspec

from podpatterns.formats.content_encoding import TooLarge, unpacked
from podpatterns.runtime.http_server import HttpReply, HttpRequest, HttpServer
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Address, SecretFile, Size
from podpatterns.sidecar.inputs import InputConfig, InputContext
from podpatterns.sidecar.listening import taking
from podpatterns.sidecar.pushed import PushedInput, Refused

MAX_WAITING = 32
"""Requests at a time that wait for the outputs; with their bodies they are what this input keeps in memory."""


class HttpConfig(InputConfig, frozen=True, kw_only=True):
    """Takes lines by HTTP POST, and answers 204 when every output has them: until then the sender keeps them.

    The body is text with a line for each record, or (as `application/json`) an object or an array of objects, perhaps
    with `Content-Encoding: gzip`. 429 and 503 say when to come again.
    """

    EXAMPLE: ClassVar[str] = "{type: http, listen: '127.0.0.1:8088', path: /logs}"

    listen: Address
    """Where to listen: on `127.0.0.1` for the containers of this pod alone, or on a unix socket."""

    path: str = "/"
    """The path that is posted to; anything else is answered with 404."""

    token: SecretFile | None = None
    """A file with a token that senders have to show as `Authorization: Bearer …`, read anew for each request. None:
    everybody who can connect may send."""

    max_line: Size = Size("256KiB")
    """Bytes of a line that are kept; a longer line is cut, marked and counted."""

    max_body: Size = Size("1MiB")
    """Bytes of a body, decompressed; a larger one is answered with 413. At most 1MiB."""

    def __post_init__(self) -> None:
        """Check what a type cannot say."""
        if not self.path.startswith("/"):
            raise InvalidField("path", "must begin with a slash")
        if not self.max_line:
            raise InvalidField("max_line", "a line needs at least one byte")
        if not 0 < self.max_body <= 1 << 20:
            raise InvalidField("max_body", "must be between one byte and 1MiB")

    def build(self, context: InputContext) -> Http:
        """The input."""
        return Http(self, context)


class Http(PushedInput):
    """Answers when it is known what became of the lines."""

    def __init__(self, config: HttpConfig, context: InputContext) -> None:
        super().__init__(context, where=context.name, limit=config.max_line, fields={})
        self.config = config
        self.port = config.listen.port
        """The port that is listened on, once started."""
        self._server = HttpServer(self._answer)
        self._waiting = 0

    async def start(self, entries: Any) -> None:
        """Listen. Raises StartError."""
        await super().start(entries)
        with taking(self.config.listen):
            self.port = await self._server.start(self.config.listen)

    async def _answer(self, request: HttpRequest) -> HttpReply:
        if request.path != self.config.path:
            return _reply(404, f"logs are taken at {self.config.path}")
        if request.method != "POST":
            return _reply(405, "POST the lines")
        if self.config.token is not None:
            shown = request.fields.get("authorization", "").encode("latin-1")
            try:
                wanted = f"Bearer {self.config.token.read()}".encode()
            except OSError as error:
                self.turn_away(f"the token cannot be read: {error.strerror}: {error.filename}")
                return _reply(503, "the token cannot be read", 5)
            if not hmac.compare_digest(shown, wanted):
                return _reply(401, "the token is missing or wrong")
        if self._waiting >= MAX_WAITING:
            return _reply(429, "too many requests are waiting for the outputs", 1)
        self._waiting += 1
        try:
            found = lines(request.body, request.fields, self.config.max_body)
            await self.take(found)
        except TooLarge as error:
            return _reply(413, str(error))
        except ValueError as error:
            return _reply(400, str(error))
        except Refused:
            return _reply(503, "the sidecar is shutting down", 5)
        finally:
            self._waiting -= 1
        return HttpReply(204, b"", "text/plain")

    async def stop(self) -> None:
        """Answer what is under way, and close."""
        await self._server.close()


def lines(body: bytes, fields: dict[str, str], limit: int) -> list[bytes]:
    """The lines of a body, without empty ones. Raises ValueError or TooLarge."""
    body = unpacked(body, fields.get("content-encoding", ""), limit)
    if fields.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        try:
            value = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"the body is not JSON: {error}") from None
        items = value if isinstance(value, list) else [value]
        if not all(isinstance(item, dict) for item in items):
            raise ValueError("the body must be an object or an array of objects")
        return [msgspec.json.encode(item) for item in items]
    return [line for line in (line.removesuffix(b"\r") for line in body.split(b"\n")) if line]


def _reply(status: int, text: str, after: int | None = None) -> HttpReply:
    fields = (("Retry-After", str(after)),) if after is not None else ()
    return HttpReply(status, f"{text}\n".encode(), "text/plain; charset=utf-8", fields)
