"""Redis, Valkey and their kin, without an exporter of their own."""

from __future__ import annotations

import asyncio
import contextlib
from typing import ClassVar

from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.fetching import Asked, SourceConfig, Unusable, refuse_elsewhere
from podpatterns.adapter.inputs import Input, Wiring
from podpatterns.formats import server_status
from podpatterns.formats.families import Family
from podpatterns.formats.resp import BadReply, ErrorReply, Replies, Value, command
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Address, SecretFile


class RedisConfig(SourceConfig, frozen=True, kw_only=True):
    """Redis' own figures, from `INFO all`: memory, clients, hits, keys by database, calls by command, and `redis_up`.

    Names are those of redis_exporter, so that its dashboards go on.
    """

    EXAMPLE: ClassVar[str] = """
    type: redis
    address: 127.0.0.1:6379
    """

    address: Address = Address("127.0.0.1:6379")
    """Where Redis listens: the pod's own loopback on the usual port by default, or `unix:/path`."""

    password: SecretFile | None = None
    """A file with the password, read anew each time. None: Redis asks for none."""

    user: str = "default"
    """The user of the password, where Redis has several (ACL); it needs no more than the command INFO."""

    def __post_init__(self) -> None:
        if self.address.path is None:
            if not self.address.port:
                raise InvalidField("address", f'"{self.address}" has no port')
            refuse_elsewhere("address", self.address.host or "localhost", remote=self.remote)

    def build(self, wiring: Wiring) -> Input:
        """The input."""
        return Redis(self, wiring.events)


class Redis(Asked):
    """Connects for each question: a connection that is kept would count as a client."""

    def __init__(self, config: RedisConfig, events: AdapterEvents) -> None:
        super().__init__("redis", config, events)
        self.config, self.name = config, f"redis input {config.address}"

    async def ask(self) -> list[Family]:
        """INFO, perhaps with AUTH before it."""
        config = self.config
        words = [command(b"INFO", b"all")]
        if config.password is not None:
            words.insert(0, command(b"AUTH", config.user.encode(), config.password.read().encode()))
        if config.address.path is not None:
            reader, writer = await asyncio.open_unix_connection(config.address.path)
        else:
            reader, writer = await asyncio.open_connection(config.address.host or "localhost", config.address.port)
        try:
            writer.write(b"".join(words))
            replies = await _replies(reader, len(words))
        except BadReply as error:
            raise Unusable(str(error)) from None
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        for reply in replies:
            if isinstance(reply, ErrorReply):
                raise Unusable(f"Redis says: {reply}")
        answer = replies[-1]
        try:
            return server_status.redis(answer.decode("utf-8", "replace") if isinstance(answer, bytes) else "")
        except ValueError as error:
            raise Unusable(str(error)) from None


async def _replies(reader: asyncio.StreamReader, count: int) -> list[Value]:
    parser, found = Replies(), list[Value]()
    while len(found) < count:
        data = await reader.read(65_536)
        if not data:
            raise EOFError("Redis has closed the connection")
        found += parser.feed(data)
    return found
