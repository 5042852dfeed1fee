"""Redis, Valkey and their kin, without an exporter of their own."""

from __future__ import annotations

from typing import ClassVar

from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.fetching import Asked, SourceConfig, refuse_elsewhere
from podpatterns.adapter.inputs import Input, Wiring
from podpatterns.adapter.redis_client import ask
from podpatterns.formats import server_status
from podpatterns.formats.families import Family
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
        super().__post_init__()
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
        super().__init__(config, events)
        self.config, self.name = config, f"redis input {config.address}"

    async def ask(self) -> list[Family]:
        """INFO, perhaps with AUTH before it."""
        config = self.config
        password = None if config.password is None else config.password.read()
        answer = await ask(config.address, b"INFO", b"all", user=config.user, password=password)
        return self.read(answer if isinstance(answer, bytes) else b"", "")

    def read(self, body: bytes, content_type: str) -> list[Family]:  # noqa: ARG002 - Redis has no types
        """The families of what INFO says. Raises ValueError where it is something else."""
        return server_status.redis(body.decode("utf-8", "replace"))
