"""Certificates and credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podpatterns.runtime.telemetry import Telemetry

if TYPE_CHECKING:
    from podpatterns.ambassador.tls import Tls


class AccessEvents:
    """What happens to access details. No secret is ever part of it."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._log = telemetry.log
        self.certificates: dict[str, Tls] = {}
        """TLS with a certificate of ours, by version."""
        telemetry.gauge(
            "podpatterns_ambassador_certificate_seconds_left",
            "Time until the certificate that we show to an upstream ends; negative once it has.",
            ["version"],
            read=lambda: {(version,): tls.seconds_left for version, tls in self.certificates.items()},
        )
        self._rotations = telemetry.counter(
            "podpatterns_ambassador_rotations",
            "Changes of files with certificates, keys and credentials, by what became of them.",
            ["version", "what", "outcome"],
        )
        self._tokens = telemetry.counter(
            "podpatterns_ambassador_tokens",
            "Requests for an access token, by what became of them.",
            ["version", "outcome"],
        )
        self._credentials = telemetry.counter(
            "podpatterns_ambassador_credentials_rejected",
            "Answers 401 to our credentials, by whether others could be had at once.",
            ["version", "others"],
        )

    def tls_unverified(self, version: str) -> None:
        """An upstream's certificate is not checked: whoever answers is believed."""
        self._log.warning(
            "ambassador.tls.unverified", version=version, advice="verify: false is for trying things out; name tls.ca"
        )

    def certificate_late(self, version: str, file: str, seconds: float) -> None:
        """A certificate of ours is about to end, and nobody has renewed it."""
        self._log.warning("ambassador.tls.certificate_late", version=version, file=file, seconds_left=round(seconds))

    def rotated(self, version: str, what: str) -> None:
        """Files of `what` (tls, credentials) have changed, and are in use from now on."""
        self._rotations.add(version, what, "taken")
        self._log.info("ambassador.rotation.taken", version=version, what=what)

    def rotation_failed(self, version: str, what: str, outcome: str, reason: str) -> None:
        """Files have gone (`missing`), or changed for the worse (`refused`)."""
        self._rotations.add(version, what, outcome)
        self._log.error(
            "ambassador.rotation.failed", version=version, what=what, reason=reason, kept="the last good one"
        )

    def token_taken(self, version: str, seconds: float) -> None:
        """An access token has come, which is good for so many seconds."""
        self._tokens.add(version, "taken")
        self._log.info("ambassador.token.taken", version=version, valid_seconds=round(seconds))

    def token_failed(self, version: str, reason: str, again: float) -> None:
        """No access token could be had; the next try comes in so many seconds."""
        self._tokens.add(version, "failed")
        self._log.warning("ambassador.token.failed", version=version, reason=reason, again_in_seconds=round(again, 1))

    def token_expired(self, version: str) -> None:
        """The access token has ended before there was another one; requests wait for it, or are answered 503."""
        self._tokens.add(version, "expired")
        self._log.error("ambassador.token.expired", version=version)

    def credentials_unprotected(self, version: str, address: str) -> None:
        """Credentials go out in plain text: whoever is on the way can read them, unless a mesh encrypts."""
        self._log.warning(
            "ambassador.credentials.unprotected", version=version, address=address, advice="begin it with https://"
        )

    def credentials_rejected(self, version: str, *, others: bool) -> None:
        """The upstream has answered 401; `others`: there are other credentials now, or will be in a moment."""
        self._credentials.add(version, "yes" if others else "no")
        self._log.warning("ambassador.credentials.rejected", version=version, others=others)
