"""Whether Redis answers."""

from __future__ import annotations

from typing import ClassVar

from podpatterns.adapter.checks import AddressedConfig, Check, CheckContext, Failed, secret
from podpatterns.adapter.fetching import Unusable
from podpatterns.adapter.redis_client import ask
from podpatterns.runtime.units import Address, SecretFile


class RedisConfig(AddressedConfig, frozen=True, kw_only=True):
    """Passes if Redis, Valkey or one of their kin answers PING with PONG; while it is loading its data it does not."""

    EXAMPLE: ClassVar[str] = "{type: redis, address: 127.0.0.1:6379}"

    address: Address = Address("127.0.0.1:6379")
    """Where it listens: the pod's own loopback on the usual port by default, or `unix:/path`."""

    password: SecretFile | None = None
    """A file with the password, read anew each time. None: Redis asks for none."""

    user: str = "default"
    """The user of the password, where Redis has several (ACL)."""

    def build(self, context: CheckContext) -> Check:  # noqa: ARG002 - it needs nothing of the adapter
        """The check."""
        return Redis(self)

    def asks(self) -> str:
        """What is asked."""
        return f"PING Redis at {self.address}"


class Redis(Check):
    """Connects for each question."""

    def __init__(self, config: RedisConfig) -> None:
        self._config = config

    async def probe(self) -> None:
        """PING, perhaps with AUTH before it."""
        config = self._config
        password = None if config.password is None else secret(config.password)
        try:
            reply = await ask(config.address, b"PING", user=config.user, password=password)
        except (Unusable, EOFError) as error:
            raise Failed(str(error)) from None
        if reply != b"PONG":
            raise Failed("the answer is not PONG")
