"""Texts with `{variables}`, which a request fills in: `{client}`, `{version}` and a few more.

Every value has passed the grammar of its place already, so none can end a line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from podpatterns.ambassador.policies.fields import check_value
from podpatterns.runtime.decode import suggest
from podpatterns.runtime.schema import InvalidField

if TYPE_CHECKING:
    from podpatterns.ambassador.exchange import Exchange

Variable = Callable[["Exchange"], bytes]

_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def _client(exchange: Exchange) -> bytes:
    return exchange.client.address.encode()


def _host(exchange: Exchange) -> bytes:
    return exchange.request.host


def _method(exchange: Exchange) -> bytes:
    return exchange.request.method


def _path(exchange: Exchange) -> bytes:
    return exchange.request.path


def _listener(exchange: Exchange) -> bytes:
    return exchange.route.listener.encode()


def _route(exchange: Exchange) -> bytes:
    return exchange.route.name.encode()


def _version(exchange: Exchange) -> bytes:
    return exchange.target.upstream.name.encode() if exchange.target is not None else b""


REQUEST: Final[Mapping[str, Variable]] = {
    "client": _client,
    "host": _host,
    "method": _method,
    "path": _path,
    "listener": _listener,
    "route": _route,
}
"""What is known of a request before its version is chosen. `client` is the address of the connection's other end."""

RESPONSE: Final[Mapping[str, Variable]] = {**REQUEST, "version": _version}
"""What is known of a response."""


def check_text(text: str, known: Mapping[str, Variable], place: str) -> None:
    """Raise InvalidField for `place`, unless this is a field's value with known variables."""
    check_value(text, place)
    for found in _PLACE.finditer(text):
        if found[0] in {"{", "}"}:
            raise InvalidField(place, f'a single "{found[0]}" stands for nothing; write "{found[0] * 2}" for a brace')
        if found[1] is not None and found[1] not in known:
            raise InvalidField(place, f'unknown variable "{found[1]}"{suggest(found[1], known)}')


def compile_text(text: str, known: Mapping[str, Variable]) -> bytes | Variable:
    """The text, or what makes it of an exchange. It has been checked."""
    parts: list[bytes | Variable] = []
    end = 0
    for found in _PLACE.finditer(text):
        parts.append(text[end : found.start()].encode())
        parts.append(known[found[1]] if found[1] is not None else found[0][:1].encode())
        end = found.end()
    parts.append(text[end:].encode())
    if all(isinstance(part, bytes) for part in parts):
        return b"".join(part for part in parts if isinstance(part, bytes))
    return lambda exchange: b"".join(part if isinstance(part, bytes) else part(exchange) for part in parts)
