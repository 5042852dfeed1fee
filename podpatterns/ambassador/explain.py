"""What an ambassador would do with a request, in plain text. Opens and sends nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from podpatterns.ambassador.balance.hash import slot, winner
from podpatterns.ambassador.balance.key import HashConfig
from podpatterns.ambassador.endpoints.names import fixed
from podpatterns.ambassador.http1.body import CHUNKED
from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.http1.request import Request, read_request
from podpatterns.ambassador.listeners.http import HttpConfig
from podpatterns.ambassador.listeners.tcp import TcpConfig
from podpatterns.ambassador.match import compile_match
from podpatterns.ambassador.policies.key import Key
from podpatterns.ambassador.policies.override import Override
from podpatterns.ambassador.policies.sticky import Cookie
from podpatterns.ambassador.ramp import ramped
from podpatterns.ambassador.retry import Retry
from podpatterns.ambassador.split import Split
from podpatterns.ambassador.upstreams.hosts import HostsConfig
from podpatterns.formats.http1 import Refused
from podpatterns.runtime.schema import component_type

if TYPE_CHECKING:
    from podpatterns.ambassador.config import AmbassadorConfig
    from podpatterns.ambassador.route import RouteConfig

SAMPLE = "GET /items?id=3 HTTP/1.1\nHost: localhost\nConnection: keep-alive\n"


def explain(config: AmbassadorConfig, sample: str | None) -> Iterator[str]:
    """For every HTTP listener: the route, versions with their shares, what is added and removed, timeouts."""
    text = (SAMPLE if sample is None else sample).replace("\r\n", "\n").strip("\n")
    lines = text.partition("\n\n")[0].split("\n")
    if re.fullmatch(r"[A-Z]+ \S+", lines[0]):
        lines[0] += " HTTP/1.1"  # people who type a sample leave it out; whoever sends one does not
    head = "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n"
    for listener in config.listeners:
        if isinstance(listener, TcpConfig):
            yield f"{listener.title}: each connection, whatever it carries"
            yield from _shares(config, listener.route)
            continue
        yield f"{listener.title}: {lines[0]}"
        if not isinstance(listener, HttpConfig):
            yield "  a listener of another kind: what it does with HTTP is not known here"
            continue
        try:
            request = read_request(head, Limits(head=listener.max_head, fields=listener.max_fields))
        except Refused as error:
            yield f"  refused with {error.status}: {error} ({error.reason})"
            continue
        if request is None:
            yield "  waits for the rest of the head: the sample is not a whole one"
            continue
        index, route = _route(listener, request)
        if route is None:
            yield "  no route matches: answered 404"
            continue
        yield f"  route {route.name or f'route-{index}'} ({route.match})"
        yield from (f"  {line}" for line in (*listener.describe(request), *route.describe(request)))
        if not route.weights:
            continue
        yield from _versions(config, route, request)
        yield from _changes(head, request)
        yield from _patience(route, request)
        yield f"  the client's connection is {'kept' if request.persistent else 'closed'} afterwards"


def _route(listener: HttpConfig, request: Request) -> tuple[int, RouteConfig | None]:
    for index, route in enumerate(listener.routes):
        test = compile_match(route.match)
        if test is None or test(request):
            return index, route
    return 0, None


def _versions(config: AmbassadorConfig, route: RouteConfig, request: Request) -> Iterator[str]:
    """The version that the request decides on itself, or all of them with their shares."""
    if route.override is not None:
        chosen = Override(route.override, route.weights).version(request)
        if chosen is not None:
            yield f"  to {chosen}, named by {route.override.header}{_upstream(config, chosen, request)}"
            return
    split, sticky = Split(route.weights), route.sticky
    if sticky is not None and sticky.cookie is not None:
        kept = Cookie(sticky.cookie, sticky.max_age, route.weights).version(request)
        if kept is not None and (split.weights[kept] or sticky.drained != "migrate"):
            yield f"  to {kept}, kept by the cookie {sticky.cookie}{_upstream(config, kept, request)}"
            return
        yield f"  sets the cookie {sticky.cookie} to the version that is drawn:"
    elif sticky is not None and sticky.header is not None:
        placed = split.place(key) if (key := Key(sticky.header).value(request)) else None
        if placed is not None:
            yield f"  to {placed}, placed by {sticky.header}{_upstream(config, placed, request)}"
            return
    elif sticky is not None:
        yield "  placed by the address of the client:"
    yield from _shares(config, route, request)


def _shares(config: AmbassadorConfig, route: RouteConfig, request: Request | None = None) -> Iterator[str]:
    weights, ramp = route.weights, route.ramp
    if ramp is not None:
        weights = ramped(weights, ramp.version_of(weights), ramp.steps[0])
    split = Split(weights)
    for name in weights:
        yield f"  {split.share(name):7.2%} to {name}{_upstream(config, name, request)}"
    if ramp is not None:
        yield f"  ramp: {ramp.version_of(route.weights)} {ramp}"


def _upstream(config: AmbassadorConfig, name: str, request: Request | None) -> str:
    upstream = config.upstreams[name]
    if not isinstance(upstream, HostsConfig):
        return ""
    times = f"connect {upstream.connect}, first byte {upstream.first_byte}, idle {upstream.idle}"
    more = f"; Host becomes {upstream.authority.decode()}" if upstream.authority else ""
    if upstream.secured is not None:
        more += "; TLS" + ("" if upstream.secured.verify else ", whose certificate is not checked")
        more += ", with a certificate of ours" if upstream.secured.certificate else ""
    if upstream.credentials is not None:
        more += f"; credentials: {component_type(type(upstream.credentials))}"
    addresses = ", ".join(getattr(address, "redacted", address) for address in upstream.addresses)
    return f": {addresses}{_balance(upstream, request)}; {times}{more}"


def _balance(upstream: HostsConfig, request: Request | None) -> str:
    """Which of several addresses would get it; with a hash that is certain, as far as addresses are known here."""
    if isinstance(upstream.balance, HashConfig) and request is not None:
        key = upstream.balance.hash.compile()(request)
        if not key:
            return f" in turn, because it has no {upstream.balance.hash}"
        if any(not fixed(place) for place in upstream.places):
            return f" by {upstream.balance.hash}"
        address = upstream.places[winner(slot(key), upstream.places)]
        return f", of these {address} by {upstream.balance.hash}"
    if len(upstream.addresses) == 1 and (upstream.balance == "round_robin" or fixed(upstream.places[0])):
        return ""
    return f", {_WAYS[upstream.balance]}" if isinstance(upstream.balance, str) else f" by {upstream.balance.hash}"


_WAYS = {
    "round_robin": "each in turn",
    "p2c": "of two at random the one with fewer requests",
    "ewma": "of two at random the faster one",
}


def _changes(head: bytes, request: Request) -> Iterator[str]:
    for line in head.split(b"\r\n")[1:-2]:
        name = line.partition(b":")[0].lower()
        if not re.search(rb"(?im)^" + re.escape(name) + rb":", request.head):
            yield f"  removes {line.decode('latin-1')}: it concerns this connection alone"
    yield "  adds Via: 1.1 podpatterns-…"
    body = "in chunks" if request.length == CHUNKED else f"{request.length} bytes" if request.length else "none"
    yield f"  body: {body}"


def _patience(route: RouteConfig, request: Request) -> Iterator[str]:
    """What happens if it takes long, or does not work."""
    retry = Retry(route.retry)
    causes = [cause for cause in route.retry.on if retry.allows(cause, request, 0)]
    if request.length > retry.max_body:
        causes = [cause for cause in causes if cause == "connect"]
    if causes:
        times = "once" if retry.attempts == 1 else f"up to {retry.attempts} times"
        named = " or ".join(_CAUSES.get(cause, f"an answer {cause}") for cause in causes)
        yield f"  sent again: {times}, after {named}"
    else:
        yield "  sent again: never"
    if route.first_byte is not None:
        yield f"  this route waits {route.first_byte} for the first byte, whatever the upstream says"
    if route.timeout is not None:
        yield f"  this route takes {route.timeout} in all, retries included"


_CAUSES = {
    "connect": "no connection came about",
    "reset": "it was closed before an answer",
    "timeout": "no answer came in time",
}
