"""The checks of the health adapter: questions of which one answer says whether something is well.

To add one: a file here, or an entry point in the group `podpatterns.adapter.checks`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

import msgspec

from podpatterns.adapter.fetching import refuse_elsewhere
from podpatterns.adapter.naming import NamedConfig
from podpatterns.formats.families import Family
from podpatterns.runtime.schema import ComponentConfig, InvalidField
from podpatterns.runtime.units import Address, Duration, SecretFile


class Failed(Exception):  # noqa: N818 - what the check has found
    """Not well, and why: in a few words that anybody may read, for the endpoint is public."""


def secret(file: SecretFile) -> str:
    """What a file holds. Raises Failed, which names the setting: the endpoint shows no paths."""
    try:
        return file.read()
    except OSError as error:
        raise Failed(f"the password cannot be read: {(error.strerror or str(error)).lower()}") from None


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What a check is given beside its configuration."""

    collect: Callable[[float], Awaitable[list[Family]]]
    """Every metric that the adapter holds or is told within so many seconds."""


class Check(ABC):
    """A compiled check. It keeps nothing open from one time to the next: whoever is asked counts no client of ours."""

    @abstractmethod
    async def probe(self) -> None:
        """Ask once; return if all is well. Cancelled when its time is over.

        Raises:
            Failed: it is not. An OSError means the same.
        """


class CheckConfig(ComponentConfig, NamedConfig, frozen=True, kw_only=True):
    """Base of the checks' configurations. The name of a check is also the path of its own, `/health/<name>`."""

    interval: Duration = Duration("10s")
    """How long after the beginning of one check the next one begins; the same default as the kubelet's `periodSeconds`.
    Who asks the endpoint gets the last result, and waits for no check."""

    timeout: Duration = Duration("1s")
    """How long one check may take before it counts as failed; the kubelet's default."""

    failures: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 3
    """Failures in a row before the check counts as failing; the kubelet's default."""

    successes: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    """Successes in a row before it counts as passing again."""

    critical: bool = True
    """Whether it decides: a critical check that fails makes the endpoint answer 503. One that is not makes it say
    `degraded`, with 200."""

    def __post_init__(self) -> None:
        for field in ("interval", "timeout"):
            if not getattr(self, field):
                raise InvalidField(field, 'must be longer than "0s"')

    def build(self, context: CheckContext) -> Check:
        """The check; it asks nothing before its first `probe`."""
        raise NotImplementedError

    def asks(self) -> str:
        """What is asked, for people, in a few words without secrets: `connect to 127.0.0.1:8080`."""
        raise NotImplementedError


class ConnectingConfig(CheckConfig, frozen=True, kw_only=True):
    """What all checks that connect to a server have in common."""

    remote: bool = False
    """Whether the server may be elsewhere than on this pod's loopback. Off, so that a typing error does not make the
    adapter a way into the network; and a pod should not be ended because something outside of it is down."""


class AddressedConfig(ConnectingConfig, frozen=True, kw_only=True):
    """What those have in common whose server has an address, and no URL."""

    address: Address
    """Where it listens: `host:port`, or a socket as `unix:/path`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        address = self.address
        if address.path is None:
            if not address.port:
                raise InvalidField("address", f'"{address}" has no port')
            refuse_elsewhere("address", address.host or "localhost", remote=self.remote)
