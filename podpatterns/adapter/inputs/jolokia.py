"""Java's JMX, by way of Jolokia."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.fetching import Fetch, FetchConfig, Unusable
from podpatterns.adapter.inputs import Input, Wiring
from podpatterns.formats import jolokia
from podpatterns.formats.families import Family
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Url

JVM = (
    "java.lang:type=Memory",
    "java.lang:type=MemoryPool,*",
    "java.lang:type=GarbageCollector,*",
    "java.lang:type=Threading",
    "java.lang:type=OperatingSystem",
    "java.lang:type=ClassLoading",
    "java.lang:type=Runtime",
)
"""The MBeans that every JVM has."""


class JolokiaConfig(FetchConfig, frozen=True, kw_only=True):
    """Figures of a JVM and of what runs in it, from its MBeans by way of a Jolokia agent; and `jolokia_up`.

    Names are those of jmx_exporter's default format in lower case, such as `java_lang_memory_heapmemoryusage_used`; the
    further properties of an MBean become labels. All numbers of an MBean are taken; `relabel` can drop some.
    """

    EXAMPLE: ClassVar[str] = """
    type: jolokia
    url: http://127.0.0.1:8778/jolokia
    mbeans: ["java.lang:type=Memory", "Catalina:type=ThreadPool,*"]
    """

    url: Url = Url("http://127.0.0.1:8778/jolokia")
    """Where Jolokia is: the JVM agent's usual port by default."""

    mbeans: list[str] = msgspec.field(default_factory=lambda: list(JVM))
    """Which MBeans: names, or patterns with `*`. All are asked for in one request. The default is the JVM itself."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.mbeans:
            raise InvalidField("mbeans", 'without one there is nothing to ask for, such as "java.lang:type=Memory"')
        for index, mbean in enumerate(self.mbeans):
            if ":" not in mbean:
                raise InvalidField(f"mbeans[{index}]", f'"{mbean}" has no domain; write "java.lang:type=Memory"')

    def build(self, wiring: Wiring) -> Input:
        """The input."""
        return Jolokia(self, wiring.events)


class Jolokia(Fetch):
    """One question for all MBeans."""

    accept = "application/json"

    def __init__(self, config: JolokiaConfig, events: AdapterEvents) -> None:
        super().__init__(config, events)
        self.config, self.name = config, "jolokia input"
        self._question = jolokia.question(config.mbeans)

    async def answers(self) -> list[Family]:
        """What all MBeans say. Raises Unusable, ValueError."""
        return self.read(*await self.get(f"{self.config.url.rstrip('/')}/", data=self._question))

    def read(self, body: bytes, content_type: str) -> list[Family]:  # noqa: ARG002 - some say text/plain
        """The families of the answers; an MBean that is not there is named, and spoils no other. Raises Unusable."""
        families, problems = jolokia.read(body)
        if problems and not families:
            raise Unusable("; ".join(problems)[:500])
        for problem in problems:
            self._events.collect_failed("jolokia", problem)
        return families
