"""Credentials: what tells an upstream who we are, so that the application need not know. A field of each request.

Secrets come from files, and appear nowhere else than in the requests: not in logs, errors, admin pages or a `repr`.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from podpatterns.ambassador.rotation import LOOK, Rotation, Unusable, content_of
from podpatterns.runtime.schema import ComponentConfig

if TYPE_CHECKING:
    from podpatterns.ambassador.events import AmbassadorEvents

_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
"""A field's value (RFC 9110 5.5), without bytes beyond ASCII."""


class CredentialConfig(ComponentConfig, frozen=True, kw_only=True):
    """Base of every credential's configuration."""

    def build(self, version: str, events: AmbassadorEvents) -> Credential:
        """The credential at work, for one upstream. Raises StartError for files that cannot be used."""
        raise NotImplementedError


class Credential(ABC):
    """Something to show to an upstream, now or as soon as it has been got."""

    name: bytes
    """The field that it is in; the client's own field of this name is removed."""

    problem: str = ""
    """Why there is nothing to show; empty as long as nobody knows of a reason."""

    @property
    @abstractmethod
    def line(self) -> bytes:
        """The field, with CRLF; empty while there is nothing to show."""

    @abstractmethod
    async def run(self, changed: Callable[[], None]) -> None:
        """Keep it good, for ever; `changed` is called each time when `line` or `problem` has become another."""

    @abstractmethod
    def reject(self, line: bytes) -> bool:
        """The upstream has answered 401 to this line. True: there is another one, or there will be in a moment."""

    @abstractmethod
    def describe(self) -> str:
        """How it stands, for the admin page; no secret."""

    def retire(self) -> None:  # noqa: B027 - most have nothing to let go of
        """It is no longer in use."""


class FromFile(Credential):
    """A credential that stands in a file, as it is now: `value` makes the field's value of the secret in the file.

    `value` raises Unusable for a secret that cannot stand in a field.
    """

    def __init__(
        self, name: str, path: str, value: Callable[[str], str], version: str, events: AmbassadorEvents
    ) -> None:
        self.name = name.encode()
        self._path = path
        self._rotation = Rotation(
            [path],
            lambda: b"%b: %b\r\n" % (self.name, value(one_line(path)).encode()),
            what="credentials",
            version=version,
            events=events,
        )

    @property
    def line(self) -> bytes:
        """See Credential."""
        return self._rotation.current

    async def run(self, changed: Callable[[], None]) -> None:
        """See Credential."""
        while True:
            await asyncio.sleep(LOOK)
            if self._rotation.look():
                changed()

    def reject(self, line: bytes) -> bool:
        """See Credential. It may have been replaced just now; a look at the file costs next to nothing."""
        self._rotation.look()
        return self.line != line

    def describe(self) -> str:
        """See Credential."""
        return f"{self.name.decode()} from {self._path}"


def one_line(path: str) -> str:
    """The secret in a file, without the line ends that editors and `echo` add. Raises Unusable, OSError."""
    try:
        secret = content_of(path, 1 << 16).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        # The original error holds what is in the file.
        raise Unusable(f"{path} does not hold text in UTF-8") from None
    if not secret:
        raise Unusable(f"{path} is empty")
    if not secret.isprintable():
        raise Unusable(f"{path} holds more than one line, or control characters")
    return secret


def visible(path: str, secret: str) -> str:
    """The secret, if it can stand in a field as it is. Raises Unusable."""
    if _VALUE.fullmatch(secret) is None:
        raise Unusable(
            f"{path} holds more than one line, or what cannot stand in a header (not ASCII, or spaces around)"
        )
    return secret
