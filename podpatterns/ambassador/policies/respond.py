"""Answers of our own: a fixed response, and no upstream is asked. For stubs, maintenance and paths that are closed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from podpatterns.ambassador.http1.request import Request
from podpatterns.ambassador.policies import PolicyConfig, Site, Step
from podpatterns.ambassador.policies.fields import check_name, check_value
from podpatterns.runtime.schema import InvalidField

if TYPE_CHECKING:
    from podpatterns.ambassador.exchange import Exchange
    from podpatterns.ambassador.match import MatchConfig


class RespondConfig(PolicyConfig, frozen=True, kw_only=True):
    """Answers every request of the route alike."""

    status: Annotated[int, Meta(ge=200, le=599)] = 200
    """The status; 204 and 304 have no body."""

    body: str = ""
    """The text of the response."""

    content_type: str = "text/plain; charset=utf-8"
    """What the body is, such as `application/json`."""

    headers: dict[str, str] = {}
    """Further fields, such as `{retry-after: "60"}`."""

    def __post_init__(self) -> None:
        """A response that can be sent."""
        if self.body and self.status in {204, 304}:
            raise InvalidField("body", f"a response with status {self.status} has no body")
        check_value(self.content_type, "content_type")
        for name, value in self.headers.items():
            check_name(name, f"headers.{name}")
            check_value(value, f"headers.{name}")
            if name.lower() == "content-type":
                raise InvalidField(f"headers.{name}", "is given with `content_type`")

    def compile(self, site: Site) -> Step:  # noqa: ARG002 - the signature of all
        """See PolicyConfig."""
        # Texts of the configuration are UTF-8; a head is written as Latin-1, byte by byte.
        fields = {name: value.encode().decode("latin-1") for name, value in self.headers.items()}
        content_type = self.content_type.encode().decode("latin-1")

        def respond(exchange: Exchange) -> bool:
            exchange.answer(self.status, self.body, reason="", fields=fields, content_type=content_type)
            return False

        return respond

    def describe(self, request: Request, match: MatchConfig) -> Iterator[str]:  # noqa: ARG002
        """See PolicyConfig."""
        yield f"answers {self.status} itself, with {len(self.body.encode())} bytes of {self.content_type}"
