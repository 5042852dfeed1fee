"""Another exporter's page, taken in whenever ours is wanted."""

from __future__ import annotations

from typing import ClassVar, Literal

from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.fetching import Fetch, FetchConfig, Name, Unusable
from podpatterns.adapter.inputs import Input, Wiring
from podpatterns.formats import openmetrics, prometheus, prometheus_protobuf
from podpatterns.formats.exposition import Malformed
from podpatterns.formats.families import Blocks, Family

_PROTOBUF = "application/vnd.google.protobuf"
_HTML = "text/html"
_UTF_8 = ";escaping=allow-utf-8"
_FORMS = {
    "protobuf": f"{_PROTOBUF};proto=io.prometheus.client.MetricFamily;encoding=delimited{_UTF_8}",
    "openmetrics": f"application/openmetrics-text;version=1.0.0{_UTF_8}",
    "text": f"text/plain;version=1.0.0{_UTF_8}",
}
"""What is asked for, by what is preferred."""

_OTHERWISE = "text/plain;version=0.0.4;q=0.9, application/openmetrics-text;version=1.0.0;q=0.5, */*;q=0.1"


class ScrapeConfig(FetchConfig, frozen=True, kw_only=True):
    """A page in any of Prometheus' formats, merged into ours; `<name>_up` says whether it answered.

    Several of these inputs make one page of several. Native histograms, which only protobuf has, are passed on to
    whoever asks us for protobuf; all others see the classic buckets, if the source has them.
    """

    EXAMPLE: ClassVar[str] = """
    type: scrape
    url: http://localhost:9121/metrics
    name: redis
    """

    name: Name
    """What the source is called: the beginning of `<name>_up`, and the name in logs."""

    prefer: Literal["text", "openmetrics", "protobuf"] = "text"
    """What is asked for first; whatever the source answers in is read. `text` is what every exporter has right;
    `openmetrics` has exemplars, units and start times; `protobuf` has native histograms as well."""

    def build(self, wiring: Wiring) -> Input:
        """The input."""
        return Scrape(self, wiring.blocks, wiring.events)


class Scrape(Fetch):
    """Takes what is well formed, and counts a page with mistakes as a failure."""

    def __init__(self, config: ScrapeConfig, blocks: Blocks, events: AdapterEvents) -> None:
        super().__init__(config, events)
        self.accept = f"{_FORMS[config.prefer]}, {_OTHERWISE}"
        self.config, self.name = config, f"scrape input {config.name}"
        self._blocks = blocks

    def read(self, body: bytes, content_type: str) -> list[Family]:
        """The families of the page. Raises Unusable where none of it can be read."""
        if content_type == _PROTOBUF:
            return prometheus_protobuf.parse(body)
        problems: list[Malformed] = []
        parse = openmetrics.parse if content_type == "application/openmetrics-text" else prometheus.parse
        try:
            families = parse(body, self._blocks, problems)
        except Malformed as error:
            problems, families = [error], []
        if not problems:
            return families
        found = "a mistake in the page" if len(problems) == 1 else f"{len(problems)} mistakes in the page, the first"
        said = f"{found}: {problems[0]}"
        if not families:
            hint = "; it is a page for people: is the path right, such as /metrics?" if content_type == _HTML else ""
            raise Unusable(said + hint)
        self._events.collect_failed(self.config.name, said)
        return families
