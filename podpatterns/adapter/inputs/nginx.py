"""nginx, without an exporter of its own."""

from __future__ import annotations

from typing import ClassVar

from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.fetching import Fetch, FetchConfig
from podpatterns.adapter.inputs import Input, Wiring
from podpatterns.formats import server_status
from podpatterns.formats.families import Family
from podpatterns.runtime.units import Url


class NginxConfig(FetchConfig, frozen=True, kw_only=True):
    """nginx' own figures, from its `stub_status` page: connections, requests, and `nginx_up`."""

    EXAMPLE: ClassVar[str] = """
    type: nginx
    url: http://127.0.0.1:8080/stub_status
    """

    url: Url = Url("http://127.0.0.1:8080/stub_status")
    """Where the page is: a location with `stub_status;` and, since it is nobody else's business, `allow 127.0.0.1; deny
    all;`."""

    def build(self, wiring: Wiring) -> Input:
        """The input."""
        return Nginx(self, wiring.events)


class Nginx(Fetch):
    """Reads the status page."""

    def __init__(self, config: NginxConfig, events: AdapterEvents) -> None:
        super().__init__(config, events)
        self.config, self.name = config, "nginx input"

    def read(self, body: bytes, content_type: str) -> list[Family]:  # noqa: ARG002 - servers call it text/plain
        """The families of the page. Raises ValueError where it is another page."""
        return server_status.nginx(body.decode("utf-8", "replace"))
