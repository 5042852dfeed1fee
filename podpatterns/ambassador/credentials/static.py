"""`type: static`: a secret in a field of any name, such as an API key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from podpatterns.ambassador.credentials import CredentialConfig, FromFile, visible
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import SecretFile

if TYPE_CHECKING:
    from podpatterns.ambassador.events import AmbassadorEvents

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

OURS = frozenset({
    "connection", "content-length", "expect", "host", "keep-alive", "max-forwards", "te", "trailer",
    "transfer-encoding", "upgrade", "via",
})  # fmt: skip
"""Fields by which a message is framed and routed."""


class StaticConfig(CredentialConfig, frozen=True, kw_only=True):
    """A secret in a field of any name, such as `X-Api-Key`. The file is looked at for changes while running."""

    EXAMPLE: ClassVar[str] = "{type: static, header: x-api-key, value: /var/run/secrets/api-key}"

    header: str
    """The name of the field. One that the application sends itself is replaced."""

    value: SecretFile
    """The file with its value; line ends behind it are no part of it."""

    scheme: str | None = None
    """A word before the value, for `Authorization: ApiKey …` and the like. None: the value alone."""

    def __post_init__(self) -> None:
        """A field that can be set."""
        if not TOKEN.fullmatch(self.header):
            raise InvalidField("header", f'"{self.header}" is not the name of a field')
        if self.header.lower() in OURS:
            raise InvalidField("header", f"{self.header} is set by the ambassador itself")
        if self.scheme is not None and not TOKEN.fullmatch(self.scheme):
            raise InvalidField("scheme", f'"{self.scheme}" is not a single word, such as "ApiKey"')

    def build(self, version: str, events: AmbassadorEvents) -> FromFile:
        """See CredentialConfig."""
        prefix = f"{self.scheme} " if self.scheme else ""
        return FromFile(self.header, self.value, lambda secret: prefix + visible(self.value, secret), version, events)
