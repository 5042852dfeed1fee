"""`type: bearer`: a token that somebody else keeps in a file, such as a projected service account token."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from podpatterns.ambassador.credentials import CredentialConfig, FromFile, visible
from podpatterns.ambassador.rotation import Unusable
from podpatterns.runtime.units import SecretFile

if TYPE_CHECKING:
    from podpatterns.ambassador.events import AmbassadorEvents


class BearerConfig(CredentialConfig, frozen=True, kw_only=True):
    """`Authorization: Bearer …` with a token from a file, which is looked at for changes while running."""

    EXAMPLE: ClassVar[str] = "{type: bearer, token: /var/run/secrets/tokens/orders}"

    token: SecretFile
    """The file with the token; line ends behind it are no part of it. The kubelet renews the token of a projected
    service account in its file: the new one is used within seconds."""

    def build(self, version: str, events: AmbassadorEvents) -> FromFile:
        """See CredentialConfig."""
        return FromFile("Authorization", self.token, self._value, version, events)

    def _value(self, secret: str) -> str:
        if " " in visible(self.token, secret):
            raise Unusable(f"{self.token} holds more than a token: there are spaces in it")
        return f"Bearer {secret}"
