"""`type: basic`: user and password (RFC 7617)."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, ClassVar

from podpatterns.ambassador.credentials import CredentialConfig, FromFile
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import SecretFile

if TYPE_CHECKING:
    from podpatterns.ambassador.events import AmbassadorEvents


class BasicConfig(CredentialConfig, frozen=True, kw_only=True):
    """`Authorization: Basic …` of a user and a password from a file, which is looked at for changes while running."""

    EXAMPLE: ClassVar[str] = "{type: basic, user: shop, password: /var/run/secrets/orders/password}"

    user: str
    """The user's name, without a colon; it is sent in UTF-8."""

    password: SecretFile
    """The file with the password; line ends behind it are no part of it."""

    def __post_init__(self) -> None:
        """RFC 7617 2: the first colon ends the name, and neither part has control characters."""
        if not self.user or ":" in self.user or not self.user.isprintable():
            raise InvalidField("user", f'"{self.user}" is not a name that can be sent: it must have no colon')

    def build(self, version: str, events: AmbassadorEvents) -> FromFile:
        """See CredentialConfig."""
        return FromFile("Authorization", self.password, self._value, version, events)

    def _value(self, secret: str) -> str:
        return f"Basic {b64encode(f'{self.user}:{secret}'.encode()).decode()}"
