"""Another exporter's page, taken in whenever ours is wanted."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Annotated, ClassVar
from urllib.parse import urlsplit

import msgspec

from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.inputs import Input, InputConfig, PullInput, Wiring
from podpatterns.formats import openmetrics, prometheus
from podpatterns.formats.exposition import Malformed
from podpatterns.formats.families import Blocks, Family, block, labels_of
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.service import Deadline
from podpatterns.runtime.units import Duration, Size, Url

if TYPE_CHECKING:
    from aiohttp import ClientSession

# Text is asked for first: what it cannot say (exemplars, units) matters less than that every exporter has it right.
_ACCEPT = "text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0;q=0.5, */*;q=0.1"


class ScrapeConfig(InputConfig, frozen=True, kw_only=True):
    """A page in Prometheus' text format or OpenMetrics, merged into ours; `<name>_up` says whether it answered."""

    EXAMPLE: ClassVar[str] = """
    type: scrape
    url: http://localhost:9121/metrics
    name: redis
    """

    url: Url
    """Where the page is."""

    name: Annotated[str, msgspec.Meta(pattern="^[a-z_][a-z0-9_]*$")]
    """What the source is called: the beginning of `<name>_up`, and the name in logs."""

    timeout: Duration = Duration("5s")
    """How long the source may take; never longer than whoever scrapes us waits."""

    max_size: Size = Size("16MiB")
    """The longest page that is taken in; some 200,000 samples by default."""

    labels: dict[str, str] = {}
    """Labels that every sample of this source gets, unless it has them already."""

    remote: bool = False
    """Whether the source may be elsewhere than on this pod's loopback. Off, so that a typing error does not make the
    adapter a way into the network."""

    def __post_init__(self) -> None:
        host = urlsplit(self.url).hostname or ""
        if not self.remote and not _is_loopback(host):
            raise InvalidField("url", f'"{host}" is not this pod; set "remote: true" if that is meant')

    def build(self, wiring: Wiring) -> Input:
        """The input."""
        return Scrape(self, wiring.blocks, wiring.events)


class Scrape(PullInput):
    """Asks over a kept-alive connection; whatever goes wrong becomes `<name>_up 0` and a log line."""

    def __init__(self, config: ScrapeConfig, blocks: Blocks, events: AdapterEvents) -> None:
        self.config, self.name = config, f"scrape input {config.name}"
        self._blocks, self._events = blocks, events
        self._session: ClientSession | None = None
        self._labelled: dict[str, str] = {}

    async def start(self) -> None:
        """Prepare the client; the source itself may come up later."""
        from aiohttp import ClientSession

        self._session = ClientSession(headers={"Accept": _ACCEPT, "User-Agent": "podpatterns-adapter"})

    async def stop(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()

    async def collect(self, deadline: Deadline) -> list[Family]:
        """The source's families, and whether it answered."""
        from aiohttp import ClientError

        up = Family(f"{self.config.name}_up", "gauge", f"Whether {self.config.name} answered with a page.")
        within = min(self.config.timeout, deadline.remaining)
        families: list[Family] = []
        try:
            async with asyncio.timeout(within):
                body, content_type = await self._get()
        except TimeoutError:
            self._events.collect_failed(self.config.name, f"no answer within {within:.3g} s")
        except (ClientError, OSError, _Unusable) as error:
            self._events.collect_failed(self.config.name, str(error) or type(error).__name__)
        else:
            families = self._read(body, content_type)
        up.add(float(bool(families)))
        return [*families, up]

    async def _get(self) -> tuple[bytes, str]:
        assert self._session is not None
        async with self._session.get(self.config.url, allow_redirects=False) as response:
            if response.status != 200:
                raise _Unusable(f"answered {response.status} {response.reason}")
            parts, size = [], 0
            async for part in response.content.iter_any():
                size += len(part)
                if size > self.config.max_size:
                    raise _Unusable(f"the page is longer than {self.config.max_size}")
                parts.append(part)
            return b"".join(parts), response.content_type

    def _read(self, body: bytes, content_type: str) -> list[Family]:
        problems: list[Malformed] = []
        parse = openmetrics.parse if content_type == "application/openmetrics-text" else prometheus.parse
        try:
            families = parse(body, self._blocks, problems)
        except Malformed as error:
            problems, families = [error], []
        if problems:
            self._events.collect_failed(self.config.name, f"{len(problems)} mistakes in the page, first {problems[0]}")
        if self.config.labels:
            for family in families:
                family.blocks = [self._labelled.get(text) or self._label(text) for text in family.blocks]
        return families

    def _label(self, text: str) -> str:
        if len(self._labelled) > 200_000:
            self._labelled.clear()
        new = self._labelled[text] = block({**self.config.labels, **dict(labels_of(text))}.items())
        return new


class _Unusable(Exception):  # noqa: N818 - never leaves this file
    """The source answered, but not with a page."""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
