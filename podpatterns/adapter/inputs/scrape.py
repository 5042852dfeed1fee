"""Another exporter's page, taken in whenever ours is wanted."""

from __future__ import annotations

from typing import ClassVar

from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.fetching import Fetch, FetchConfig, Name
from podpatterns.adapter.inputs import Input, Wiring
from podpatterns.formats import openmetrics, prometheus
from podpatterns.formats.exposition import Malformed
from podpatterns.formats.families import Blocks, Family


class ScrapeConfig(FetchConfig, frozen=True, kw_only=True):
    """A page in Prometheus' text format or OpenMetrics, merged into ours; `<name>_up` says whether it answered."""

    EXAMPLE: ClassVar[str] = """
    type: scrape
    url: http://localhost:9121/metrics
    name: redis
    """

    name: Name
    """What the source is called: the beginning of `<name>_up`, and the name in logs."""

    def build(self, wiring: Wiring) -> Input:
        """The input."""
        return Scrape(self, wiring.blocks, wiring.events)


class Scrape(Fetch):
    """Takes what is well formed, and counts a page with mistakes as a failure."""

    # Text is asked for first: what it cannot say (exemplars, units) matters less than that every exporter has it right.
    accept = "text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0;q=0.5, */*;q=0.1"

    def __init__(self, config: ScrapeConfig, blocks: Blocks, events: AdapterEvents) -> None:
        super().__init__(config.name, config, events)
        self.config, self.name = config, f"scrape input {config.name}"
        self._blocks = blocks

    def read(self, body: bytes, content_type: str) -> list[Family]:
        """The families of the page."""
        problems: list[Malformed] = []
        parse = openmetrics.parse if content_type == "application/openmetrics-text" else prometheus.parse
        try:
            families = parse(body, self._blocks, problems)
        except Malformed as error:
            problems, families = [error], []
        if problems:
            self._events.collect_failed(self.config.name, f"{len(problems)} mistakes in the page, first {problems[0]}")
        return families
