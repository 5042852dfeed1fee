"""The part of a request by which it is given to an endpoint: requests with the same key go to the same one. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from podpatterns.ambassador.http1.fields import named
from podpatterns.ambassador.http1.grammar import TOKEN
from podpatterns.ambassador.http1.request import Request
from podpatterns.runtime.schema import Config, InvalidField

Key = Callable[[Request], bytes]
"""The key of a request; empty if it has none."""

_COOKIE = named(b"cookie")


class HashKeyConfig(Config, frozen=True, kw_only=True):
    """What is hashed; exactly one of these."""

    header: str | None = None
    """A field's name, in any case: its first value. None: something else is the key."""

    cookie: str | None = None
    """A cookie's name: its value. None: something else is the key."""

    query: str | None = None
    """The name of a parameter in the query: its first value, decoded. None: something else is the key."""

    path: bool = False
    """The whole path as it was sent, without the query: for caches, and for services that shard by resource."""

    def __post_init__(self) -> None:
        """Exactly one, and a name that can occur."""
        given = [name for name in ("header", "cookie", "query", "path") if getattr(self, name)]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f'hash needs exactly one of header, cookie, query and "path: true", not {found}')
        for name in ("header", "cookie"):
            value = getattr(self, name)
            if value is not None and TOKEN.fullmatch(value.encode()) is None:
                raise InvalidField(name, f'"{value}" is not the name of a {name}')

    def __str__(self) -> str:
        """For people: `header x-user`."""
        if self.path:
            return "path"
        return next(f"{name} {value}" for name in ("header", "cookie", "query") if (value := getattr(self, name)))

    def compile(self) -> Key:
        """The function that finds it."""
        if self.header is not None:
            return _field(self.header)
        if self.cookie is not None:
            return _cookie(self.cookie)
        if self.query is not None:
            return _parameter(self.query)
        return lambda request: request.path


class HashConfig(Config, frozen=True, kw_only=True):
    """Gives all requests with the same key to the same address: `{hash: {header: x-user}}`.

    When an address comes, goes or rests, only the keys move that have to. Requests without the key are taken in turn.
    """

    hash: HashKeyConfig
    """Where the key is found: one of `header`, `cookie`, `query` and `path`."""


def _field(name: str) -> Key:
    pattern = named(name.lower().encode())

    def key(request: Request) -> bytes:
        found = pattern.search(request.head)
        return b"" if found is None else found[1].strip(b" \t")

    return key


def _cookie(name: str) -> Key:
    pattern = re.compile(rb"(?:^|;)[ \t]*" + re.escape(name.encode()) + rb"=([^;]*)")

    def key(request: Request) -> bytes:
        for field in _COOKIE.findall(request.head):
            found = pattern.search(field)
            if found is not None:
                return bytes(found[1].strip(b" \t"))
        return b""

    return key


def _parameter(name: str) -> Key:
    wanted = name.encode()

    def key(request: Request) -> bytes:
        for pair in request.target.partition(b"?")[2].split(b"&"):
            found, _, value = pair.partition(b"=")
            if unquote_to_bytes(found.replace(b"+", b" ")) == wanted:
                return unquote_to_bytes(value.replace(b"+", b" "))
        return b""

    return key
