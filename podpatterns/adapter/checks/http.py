"""Whether a page answers."""

from __future__ import annotations

from typing import Annotated, ClassVar
from urllib.parse import urlsplit

import msgspec

from podpatterns.adapter.checks import Check, CheckContext, ConnectingConfig, Failed
from podpatterns.adapter.fetching import refuse_elsewhere
from podpatterns.runtime import http_get
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Url


class HttpConfig(ConnectingConfig, frozen=True, kw_only=True):
    """Passes if a GET is answered with the right status. Redirects are not followed."""

    EXAMPLE: ClassVar[str] = "{type: http, url: 'http://127.0.0.1:8080/status', contains: ready}"

    url: Url
    """What is asked for."""

    status: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[1-5][0-9]{2}(-[1-5][0-9]{2})?$", extra={"is": "a status or a range, such as 204 or 200-299"}
        ),
    ] = "200-399"
    """The status that passes, or the first and the last of a range. The default is the kubelet's."""

    contains: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """Text that must stand in the first megabyte of the page, for servers that answer 200 whatever happens. None: the
    page is not read."""

    verify: bool = True
    """Whether the certificate of an `https` server is checked, its name included."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.statuses:
            raise InvalidField("status", f'"{self.status}" ends before it begins')
        refuse_elsewhere("url", urlsplit(self.url).hostname or "", remote=self.remote)

    @property
    def statuses(self) -> range:
        """Those that pass."""
        first, _, last = self.status.partition("-")
        return range(int(first), int(last or first) + 1)

    def build(self, context: CheckContext) -> Check:  # noqa: ARG002 - it needs nothing of the adapter
        """The check."""
        return Http(self)

    def asks(self) -> str:
        """What is asked."""
        return f"GET {self.url.redacted}, for status {self.status}" + (" and a text" if self.contains else "")


class Http(Check):
    """Asks over a new connection each time."""

    def __init__(self, config: HttpConfig) -> None:
        self._config = config

    async def probe(self) -> None:
        """Ask."""
        config = self._config
        try:
            status, body = await http_get.get_url(config.url, verify=config.verify, body=config.contains is not None)
        except http_get.BadAnswer as error:
            raise Failed(str(error)) from None
        if status not in config.statuses:
            raise Failed(f"status {status}")
        if config.contains is not None and config.contains.encode() not in body:
            raise Failed("the page lacks the text that it should contain")
