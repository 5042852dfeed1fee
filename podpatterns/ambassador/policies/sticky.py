"""Stickiness: a client stays on the version it was given first. Pure.

By cookie the client remembers its version. By a field nobody remembers anything: the value is hashed onto the
weights, the same way in every replica and after every restart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal
from urllib.parse import quote

from podpatterns.ambassador.http1.fields import named
from podpatterns.ambassador.http1.grammar import TOKEN
from podpatterns.ambassador.http1.request import Request
from podpatterns.ambassador.policies.override import check_field_name
from podpatterns.runtime.schema import Config, InvalidField
from podpatterns.runtime.units import Duration


class StickyConfig(Config, frozen=True, kw_only=True):
    """Keeps a client on its version: by a cookie, by a field such as the user's id, or by its address."""

    cookie: str | None = None
    """The name of the cookie that remembers the version. It is set, HttpOnly and SameSite=Lax, on the first response
    from a version; clients that keep no cookies get a version anew each time. None: see `header`."""

    max_age: Duration | None = None
    """How long a client keeps the cookie, in whole seconds from the first response on, such as `1d`. None: until the
    browser is closed."""

    header: str | None = None
    """The field whose value decides: its hash is placed onto the weights, and changing the weight of a version only
    moves clients to or from that version. Requests without the field go by the weights. None: see `cookie`."""

    client: bool = False
    """Whether the address that connects decides, placed like a `header`. For listeners that others reach: within a pod
    every connection comes from the same address."""

    drained: Literal["keep", "migrate", "expire"] = "migrate"
    """What becomes of clients whose version has weight 0 now. `migrate`: they get another version, and its cookie, with
    their next request. `keep`: they stay until their cookie ends. `expire`: their next request is still answered by
    the old version, which deletes the cookie; the one after that goes by the weights. With `header` or `client` it is
    always `migrate`: a hash has no memory of who was where."""

    def __post_init__(self) -> None:
        """Exactly one of `cookie`, `header` and `client`, and what only goes with a cookie."""
        if (self.cookie is not None) + (self.header is not None) + self.client != 1:
            raise ValueError('sticky needs either "cookie: NAME" or "header: NAME", or else "client: true"')
        if self.cookie is not None and TOKEN.fullmatch(self.cookie.encode()) is None:
            raise InvalidField("cookie", f'"{self.cookie}" is not the name of a cookie')
        if self.max_age is not None and (self.max_age < 1 or self.max_age % 1):
            raise InvalidField("max_age", f'{self.max_age}: a cookie lives for whole seconds, such as "1d"')
        if self.header is not None:
            check_field_name(self.header)
        if self.cookie is None:
            if self.max_age is not None:
                raise InvalidField("max_age", "goes with `cookie`; without one nothing is set that could expire")
            if self.drained != "migrate":
                raise InvalidField("drained", f'"{self.drained}" needs a cookie: a hash has no memory of who was where')


class Cookie:
    """The cookie, compiled for the versions of one split. Its value is the version's name, percent-encoded."""

    __slots__ = ("_settings", "_value", "_versions", "removal")

    def __init__(self, name: str, max_age: Duration | None, versions: Iterable[str]) -> None:
        values = {version: quote(version, safe="") for version in versions}
        age = "" if max_age is None else f"; Max-Age={int(max_age)}"
        attributes = "Path=/; HttpOnly; SameSite=Lax"
        self._value = re.compile(rb"(?:^|;)[ \t]*" + re.escape(name.encode()) + rb"=([^;]*)")
        self._versions = {value.encode(): version for version, value in values.items()}
        self._settings = {
            version: f"Set-Cookie: {name}={value}; {attributes}{age}\r\n".encode() for version, value in values.items()
        }
        self.removal = f"Set-Cookie: {name}=; {attributes}; Max-Age=0\r\n".encode()
        """The line that makes a client forget its version."""

    def version(self, request: Request) -> str | None:
        """The version that the client remembers; None if there is none, or if it is no longer in the split."""
        for field in _COOKIE.findall(request.head):
            for value in self._value.findall(field):
                version = self._versions.get(value.strip(b" \t"))
                if version is not None:
                    return version
        return None

    def setting(self, version: str) -> bytes:
        """The line that makes a client remember a version."""
        return self._settings[version]


_COOKIE = named(b"cookie")
