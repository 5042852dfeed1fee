"""Sources that are fetched over HTTP whenever a page is wanted; whatever goes wrong becomes `<name>_up 0`."""

from __future__ import annotations

import asyncio
import ipaddress
import os
from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import msgspec

from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.inputs import Document, InputConfig, PullInput, Wiring
from podpatterns.adapter.naming import check_labels
from podpatterns.formats.families import Family, block, labels_of
from podpatterns.runtime.schema import InvalidField, component_type
from podpatterns.runtime.service import Deadline
from podpatterns.runtime.units import Duration, Size, Url

if TYPE_CHECKING:
    from aiohttp import ClientSession

Name = Annotated[str, msgspec.Meta(pattern="^[a-z_][a-z0-9_]*$", extra={"is": "small letters, digits and _"})]
"""The beginning of a metric's name."""


class SourceConfig(InputConfig, frozen=True, kw_only=True):
    """What all sources that are asked have in common."""

    timeout: Duration = Duration("5s")
    """How long the source may take; never longer than whoever scrapes us waits."""

    labels: dict[str, str] = {}
    """Labels that every sample of this source gets, unless it has them already; `<name>_up` gets them as well, so that
    two sources of a kind are told apart."""

    remote: bool = False
    """Whether the source may be elsewhere than on this pod's loopback. Off, so that a typing error does not make the
    adapter a way into the network."""

    def document(self, wiring: Wiring) -> Document | None:
        """What reads the source's answer."""
        source = self.build(wiring)
        return source if isinstance(source, Asked) else None

    def __post_init__(self) -> None:
        if self.timeout <= 0:
            raise InvalidField("timeout", "no source answers in no time; some seconds are usual")
        check_labels(self.labels)

    @property
    def called(self) -> str:
        """What stands in front of `_up`: the type, or the name where it has one."""
        return str(getattr(self, "name", component_type(type(self))))


class FetchConfig(SourceConfig, frozen=True, kw_only=True):
    """What all sources over HTTP have in common."""

    url: Url
    """Where the page is."""

    max_size: Size = Size("16MiB")
    """The longest page that is taken in; some 200,000 samples by default."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_size < 1:
            raise InvalidField("max_size", "every page is longer than that; leave it out for 16MiB")
        refuse_elsewhere("url", urlsplit(self.url).hostname or "", remote=self.remote)


def refuse_elsewhere(field: str, host: str, *, remote: bool) -> None:
    """Blame `field` if the host is not this pod. Raises InvalidField."""
    if not remote and not _is_loopback(host):
        raise InvalidField(field, f'"{host}" is not this pod; set "remote: true" if that is meant')


def check_sources(inputs: Iterable[InputConfig]) -> None:
    """Blame the second of two sources that say the same things by the same names. Raises InvalidField."""
    seen = set()
    for index, source in enumerate(inputs):
        if isinstance(source, SourceConfig):
            key = source.called, frozenset(source.labels.items())
            if key in seen:
                hint = "give it labels of its own, such as {instance: b}"
                raise InvalidField(f"inputs[{index}]", f'is a second source called "{source.called}"; {hint}')
            seen.add(key)


class Unusable(ValueError):  # noqa: N818 - named after what the source has answered
    """The source answered, but with nothing that can be used."""


class Asked(PullInput):
    """Asks a source, and says whether it answered."""

    def __init__(self, config: SourceConfig, events: AdapterEvents) -> None:
        self._called, self._settings, self._events = config.called, config, events
        self._labelled: dict[str, str] = {}

    @abstractmethod
    async def ask(self) -> list[Family]:
        """Everything that the source says, which may be nothing. Raises ValueError, OSError or EOFError."""

    @abstractmethod
    def read(self, body: bytes, content_type: str) -> list[Family]:
        """The families of an answer. Raises ValueError where it is not what was asked for, Unusable among them."""

    def take(self, body: bytes, content_type: str) -> list[Family]:
        """The families of an answer that somebody else has got, with the labels of the source."""
        return self._with_labels(self.read(body, content_type))

    async def collect(self, deadline: Deadline) -> list[Family]:
        """The source's families, and whether it answered."""
        up = Family(f"{self._called}_up", "gauge", f"Whether {self._called} answered with what was asked for.")
        within = min(self._settings.timeout, deadline.remaining)
        families: list[Family] = []
        answered = 0.0
        try:
            async with asyncio.timeout(within):
                families = await self.ask()
            answered = 1.0
        except TimeoutError:
            self._events.collect_failed(self._called, f"no answer within {within:.3g} s")
        except (OSError, EOFError, ValueError, RecursionError) as error:  # the last: nested a thousand levels deep
            self._events.collect_failed(self._called, _reason(error))
        up.add(answered)
        return self._with_labels([*families, up])

    def _with_labels(self, families: list[Family]) -> list[Family]:
        """Those that have samples, with the source's labels."""
        if self._settings.labels:
            for family in families:
                family.blocks = [self._labelled.get(text) or self._label(text) for text in family.blocks]
        return [family for family in families if family.values]

    def _label(self, text: str) -> str:
        if len(self._labelled) > 200_000:
            self._labelled.clear()
        new = self._labelled[text] = block({**self._settings.labels, **dict(labels_of(text))}.items())
        return new


class Fetch(Asked):
    """Asks over a kept-alive connection."""

    accept = "*/*"
    """The Accept field."""

    def __init__(self, config: FetchConfig, events: AdapterEvents) -> None:
        super().__init__(config, events)
        self._fetch = config
        self._session: ClientSession | None = None

    async def start(self) -> None:
        """Prepare the client; the source itself may come up later."""
        from aiohttp import ClientSession

        self._session = ClientSession(headers={"Accept": self.accept, "User-Agent": "podpatterns-adapter"})

    async def stop(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()

    async def answers(self) -> list[Family]:
        """Fetch the page, and read it; more pages than one are for whoever overrides this."""
        return self.read(*await self.get(self._fetch.url))

    async def ask(self) -> list[Family]:
        """The same; what the client raises becomes Unusable."""
        from aiohttp import ClientConnectorError, ClientError

        try:
            return await self.answers()
        except ClientConnectorError as error:
            where = f"{error.host}:{error.port}"
            raise Unusable(f"cannot connect to {where}: {_reason(error.os_error)}") from None
        except ClientError as error:
            raise Unusable(str(error) or type(error).__name__) from None

    async def get(
        self, url: str, *, data: bytes | None = None, also: frozenset[int] = frozenset()
    ) -> tuple[bytes, str]:
        """Body and type of a page; `data` is posted, and statuses in `also` are as good as 200.

        Raises Unusable, ClientError, OSError.
        """
        assert self._session is not None
        method = "GET" if data is None else "POST"
        async with self._session.request(method, url, data=data, allow_redirects=False) as response:
            if response.status != 200 and response.status not in also:
                to = response.headers.get("Location", "")
                hint = f" to {to[:200]}, where nobody goes; name the final page in the configuration" if to else ""
                raise Unusable(f"answered {response.status} {response.reason}{hint}")
            parts, size = [], 0
            async for part in response.content.iter_any():
                size += len(part)
                if size > self._fetch.max_size:
                    raise Unusable(f"the page is longer than {self._fetch.max_size}")
                parts.append(part)
            return b"".join(parts), response.content_type


def _reason(error: Exception) -> str:
    """What the system says of an error; asyncio's own text has the address, and not the reason."""
    if isinstance(error, OSError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0)
    return str(error) or type(error).__name__


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
