"""Spring Boot, without its Prometheus registry."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote

import msgspec

from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.fetching import Fetch, FetchConfig
from podpatterns.adapter.inputs import Input, Wiring
from podpatterns.adapter.selection import Selection, check_selection
from podpatterns.formats import actuator
from podpatterns.formats.families import Family
from podpatterns.runtime.units import Url

T = TypeVar("T")

AT_A_TIME = 8
"""Requests under way; a Tomcat has two hundred threads, and they are for visitors."""


METERS = (r"jvm\.(memory|gc|threads)\..*", r"process\.(cpu|uptime|files)\..*", r"http\.server\.requests")
SPLIT = {"jvm.memory.used": "area", "jvm.memory.max": "area", "http.server.requests": "status"}


class SpringConfig(FetchConfig, frozen=True, kw_only=True):
    """A Spring Boot application's own figures, from its actuator: health by component, meters, and `spring_up`.

    For applications that expose `health` and `metrics`; one that exposes `prometheus` is better scraped (`scrape`).
    Each meter is a request, so choose them. Names are those that Micrometer gives in Prometheus.
    """

    EXAMPLE: ClassVar[str] = """
    type: spring
    url: http://127.0.0.1:8080/actuator
    """

    url: Url = Url("http://127.0.0.1:8080/actuator")
    """Where the actuator is, without the name of an endpoint."""

    meters: list[str] = msgspec.field(default_factory=lambda: list(METERS))
    """Which meters: regular expressions that match a name as a whole. Empty: health alone."""

    split: dict[str, str] = msgspec.field(default_factory=lambda: dict(SPLIT))
    """Meters that are asked for by the values of a tag, which becomes a label: a request more for each value."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_selection("meters", self.meters)

    def build(self, wiring: Wiring) -> Input:
        """The input."""
        return Spring(self, wiring.events)


class Spring(Fetch):
    """Asks for health and meters, some at a time."""

    accept = "application/json"

    def __init__(self, config: SpringConfig, events: AdapterEvents) -> None:
        super().__init__(config, events)
        self.config, self.name = config, "spring input"
        self._wanted = Selection(config.meters)
        self._few = asyncio.Semaphore(AT_A_TIME)

    def read(self, body: bytes, content_type: str) -> list[Family]:  # noqa: ARG002 - Spring has a type of its own
        """The families of the health document. Raises ValueError where it is another one."""
        return actuator.health(body)

    def take(self, body: bytes, content_type: str) -> list[Family]:
        """The families of a health document, or of a meter's."""
        if b'"measurements"' in body:
            return self._with_labels(actuator.meters([({}, actuator.read_meter(body))]))
        return super().take(body, content_type)

    async def answers(self) -> list[Family]:
        """Health, and what is wanted of the meters. Raises Unusable, ValueError."""
        base = self.config.url.rstrip("/")
        # What is down says so with 503, and tells as much.
        body, content_type = await self.get(f"{base}/health", also=frozenset({503}))
        families = self.read(body, content_type)
        if self.config.meters:
            body, _ = await self.get(f"{base}/metrics")
            wanted = [name for name in actuator.names(body) if name in self._wanted]
            parts = await _together(self._meter(base, name) for name in wanted)
            families += actuator.meters(found for part in parts for found in part)
        return families

    async def _meter(self, base: str, name: str) -> Iterable[tuple[Mapping[str, str], actuator.Meter]]:
        try:
            return await self._parts(base, name)
        except ValueError as error:  # one that is gone meanwhile spoils no other
            self._events.collect_failed("spring", f"{name}: {error}")
            return ()

    async def _parts(self, base: str, name: str) -> Iterable[tuple[Mapping[str, str], actuator.Meter]]:
        url = f"{base}/metrics/{quote(name, safe='')}"
        whole = await self._document(url)
        tag = self.config.split.get(name)
        values = next((each.values for each in whole.availableTags if each.tag == tag), [])
        if not tag or not values:
            return [({}, whole)]
        parts = await _together(self._document(f"{url}?tag={quote(f'{tag}:{each}')}") for each in values)
        return [({tag: value}, part) for value, part in zip(values, parts, strict=True)]

    async def _document(self, url: str) -> actuator.Meter:
        async with self._few:
            body, _ = await self.get(url)
        return actuator.read_meter(body)


async def _together(each: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results, in order; the first failure when all have ended, so that none is left behind."""
    results = await asyncio.gather(*each, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
