"""Keys: by what the requests of one client are told from those of others. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from podpatterns.ambassador.http1.fields import named
from podpatterns.ambassador.http1.request import Request

if TYPE_CHECKING:
    from podpatterns.ambassador.exchange import Exchange


class Key:
    """The value of a field."""

    __slots__ = ("_pattern",)

    def __init__(self, header: str) -> None:
        self._pattern = named(header.lower().encode())

    def value(self, request: Request) -> bytes:
        """The first value, without spaces around it; empty if there is none."""
        found = self._pattern.search(request.head)
        return b"" if found is None else found[1].strip(b" \t")


def key_of(header: str | None, *, client: bool) -> Callable[[Exchange], bytes] | None:
    """The key of an exchange: a field's value, or the address of the connection; None if neither is asked for."""
    if header is not None:
        key = Key(header)
        return lambda exchange: key.value(exchange.request)
    return (lambda exchange: exchange.client.address.encode()) if client else None
