"""Redirects: the client is sent elsewhere, and no upstream is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from podpatterns.ambassador.http1.grammar import HOST
from podpatterns.ambassador.http1.request import Request
from podpatterns.ambassador.policies import PolicyConfig, Site, Step
from podpatterns.ambassador.policies.target import check_path, replace_prefix, with_query
from podpatterns.runtime.schema import InvalidField

if TYPE_CHECKING:
    from podpatterns.ambassador.exchange import Exchange
    from podpatterns.ambassador.match import MatchConfig


class RedirectConfig(PolicyConfig, frozen=True, kw_only=True):
    """Answers with the address to go to. What is not given stays as the client has asked for it, the query always."""

    scheme: Literal["http", "https"] | None = None
    """The scheme. None: the one that the client uses, which is `http` wherever only a host or a port is given."""

    host: str | None = None
    """The host, without a port. None: that of the request."""

    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    """The port. None: the scheme's own if scheme or host are given, else that of the request."""

    path: str | None = None
    """The whole path. None: see `prefix`."""

    prefix: str | None = None
    """What takes the place of the `prefix` that the route matches by. None: the path stays."""

    status: Literal[301, 302, 303, 307, 308] = 307
    """`307` is temporary and keeps the method: a client remembers a permanent one (`301`, `308`) for longer than a
    mistake lasts. `303` makes it a GET; `301` and `302` leave that to the client."""

    def __post_init__(self) -> None:
        """Somewhere else to go, and well-formed."""
        if all(each is None for each in (self.scheme, self.host, self.port, self.path, self.prefix)):
            raise ValueError("leads to where it came from: give scheme, host, port, path or prefix")
        if self.path is not None and self.prefix is not None:
            raise InvalidField("prefix", "only one of path and prefix can be given")
        if self.path is not None:
            check_path(self.path, "path", query=True)
        if self.prefix is not None:
            check_path(self.prefix, "prefix")
        if self.host is not None and (HOST.fullmatch(self.host.encode()) is None or _port(self.host.encode())):
            raise InvalidField("host", f'"{self.host}" is not the name of a host; a port is given with `port`')

    def mistakes(self, match: MatchConfig) -> Iterator[InvalidField]:
        """See PolicyConfig."""
        if self.prefix is not None and match.prefix is None:
            yield InvalidField("prefix", "needs a prefix to replace: give the route `match: {prefix: …}`")

    def location(self, request: Request, matched: str | None) -> bytes:
        """The address for a request; `matched` is the route's own prefix."""
        path = request.path
        if self.path is not None:
            path = self.path.encode()
        elif self.prefix is not None:
            path = replace_prefix(path, (matched or "/").encode(), self.prefix.encode())
        if not path.startswith(b"/"):  # the `*` of OPTIONS
            path = b"/"
        target = with_query(path, request.target)
        if self.scheme is None and self.host is None and self.port is None:
            # At the start of a reference two slashes are a host's name, so `//evil.example` would lead away; browsers
            # take a backslash for a slash. `/.` is removed by whoever resolves it (RFC 3986, 5.2.4).
            return b"/." + target if target[1:2] in (b"/", b"\\") else target
        host, port = request.host, b""
        if self.host is not None:
            host = self.host.encode()
        elif found := _port(host):
            host, port = host[: -len(found)], found
        if self.scheme is not None:
            port = b""
        if self.port is not None:
            port = b":%d" % self.port
        scheme = self.scheme or "http"
        if port == _USUAL[scheme]:
            port = b""
        return scheme.encode() + b"://" + host + port + target

    def compile(self, site: Site) -> Step:
        """See PolicyConfig."""
        matched = site.match.prefix

        def redirect(exchange: Exchange) -> bool:
            location = self.location(exchange.request, matched).decode("latin-1")
            exchange.answer(self.status, "", reason="", fields={"Location": location})
            return False

        return redirect

    def describe(self, request: Request, match: MatchConfig) -> Iterator[str]:
        """See PolicyConfig."""
        yield f"redirects with {self.status} to {self.location(request, match.prefix).decode('latin-1')}"


_USUAL = {"http": b":80", "https": b":443"}


def _port(host: bytes) -> bytes:
    """The end of a Host from the colon on; empty if it names no port. Colons within brackets are an address's own."""
    colon = host.rfind(b":")
    return host[colon:] if colon > host.rfind(b"]") else b""
