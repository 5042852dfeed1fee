"""Apache, without an exporter of its own."""

from __future__ import annotations

from typing import ClassVar

from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.fetching import Fetch, FetchConfig
from podpatterns.adapter.inputs import Input, Wiring
from podpatterns.formats import server_status
from podpatterns.formats.families import Family
from podpatterns.runtime.units import Url


class ApacheConfig(FetchConfig, frozen=True, kw_only=True):
    """Apache's own figures, from its `server-status` page: requests, bytes, workers by state, and `apache_up`."""

    EXAMPLE: ClassVar[str] = """
    type: apache
    url: http://127.0.0.1:80/server-status?auto
    """

    url: Url = Url("http://127.0.0.1:80/server-status?auto")
    """Where the page of mod_status is; `?auto` makes it one for programs."""

    def build(self, wiring: Wiring) -> Input:
        """The input."""
        return Apache(self, wiring.events)


class Apache(Fetch):
    """Reads the status page."""

    def __init__(self, config: ApacheConfig, events: AdapterEvents) -> None:
        super().__init__(config, events)
        self.config, self.name = config, "apache input"

    def read(self, body: bytes, content_type: str) -> list[Family]:  # noqa: ARG002 - servers call it text/plain
        """The families of the page. Raises ValueError where it is another page."""
        return server_status.apache(body.decode("utf-8", "replace"))
