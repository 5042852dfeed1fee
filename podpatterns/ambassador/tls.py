"""TLS to an upstream: whom to trust, and who we are. The application speaks plain HTTP to localhost.

Certificates and keys are replaced while we run (cert-manager renews, a Secret volume swaps); connections that are
opened from then on use the new ones. Files that cannot be used leave the last good ones in place.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from podpatterns.ambassador.rotation import LOOK, Rotation, Unusable, content_of
from podpatterns.ambassador.x509 import Validity, validity
from podpatterns.runtime.schema import Config, InvalidField, InvalidFields
from podpatterns.runtime.units import SecretFile

if TYPE_CHECKING:
    from podpatterns.ambassador.events import AmbassadorEvents

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|[0-9a-fA-F:]+")

LATE = 0.1
"""What is left of a certificate's lifetime when somebody should be told; it is mostly renewed with a third left."""

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class TlsConfig(Config, frozen=True, kw_only=True):
    """How to speak TLS to an upstream. Files are in PEM form, and are looked at for changes while running."""

    ca: str | None = None
    """A file of certificates to trust, instead of the system's. None: the system's."""

    certificate: str | None = None
    """A file with our own certificate, for upstreams that ask for one (mTLS), and those that lead from it to its
    authority. None: we show none."""

    key: SecretFile | None = None
    """The file with the key of `certificate`, without a passphrase. None: it is in the file `certificate`."""

    server_name: str | None = None
    """The name that must be in the upstream's certificate, and that is sent to it (SNI). None: the host of the
    address."""

    minimum: Literal["1.2", "1.3"] = "1.2"
    """The oldest version of TLS to speak. What is older is broken (RFC 8996)."""

    verify: bool = True
    """Whether the upstream's certificate is checked. Without that anybody on the way can read and change everything;
    it is for trying things out, and a warning says so at each start."""

    def __post_init__(self) -> None:
        """A key belongs to a certificate, and a name is one."""
        mistakes = []
        if self.key is not None and self.certificate is None:
            mistakes.append(InvalidField("key", "is of no use without the certificate that it belongs to"))
        if self.ca is not None and not self.verify:
            mistakes.append(InvalidField("ca", "is of no use with verify: false; leave one of the two out"))
        if self.server_name is not None and not _NAME.fullmatch(self.server_name):
            message = f'"{self.server_name}" is not the name of a host; write it without scheme and port'
            mistakes.append(InvalidField("server_name", message))
        mistakes += [
            InvalidField(name, "names no file")
            for name in ("ca", "certificate", "key")
            if getattr(self, name) is not None and not getattr(self, name)
        ]
        if mistakes:
            raise InvalidFields(mistakes)

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that it names."""
        return tuple(str(path) for path in (self.ca, self.certificate, self.key) if path is not None)


@dataclass(frozen=True, slots=True)
class Material:
    """What the files have come to. Two are equal if the files hold the same."""

    digest: bytes
    context: ssl.SSLContext = field(compare=False, repr=False)
    validity: Validity | None = field(compare=False)
    """Of our own certificate; None if we show none."""


class Tls:
    """TLS at work for one upstream. Raises StartError for files that cannot be used."""

    def __init__(
        self, config: TlsConfig, version: str, events: AmbassadorEvents, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.config = config
        self.version = version
        self._clock = clock
        self._events = events
        self._rotation = Rotation(config.files, lambda: load(config), what="tls", version=version, events=events)
        self._late: Validity | None = None
        """Of the certificate that was last said to be late."""
        if not config.verify:
            events.tls_unverified(version)
        self.warn()

    @property
    def context(self) -> ssl.SSLContext:
        """For new connections, as the files are now."""
        return self._rotation.current.context

    @property
    def validity(self) -> Validity | None:
        """Of our own certificate; None if we show none."""
        return self._rotation.current.validity

    def name(self, host: str) -> str:
        """Whom we expect at this host."""
        return self.config.server_name or host or "localhost"

    @property
    def seconds_left(self) -> float:
        """Until our own certificate ends; negative once it has, infinite if we show none."""
        return float("inf") if self.validity is None else self.validity.ends - self._clock()

    def use(self) -> None:
        """It is in use from now on: how long its certificate lasts is a metric."""
        if self.validity is not None:
            self._events.certificates[self.version] = self

    async def run(self, changed: Callable[[], None]) -> None:
        """Look for new files, for ever; `changed` tells that connections opened before had better go."""
        self.use()
        while self.config.files:
            await asyncio.sleep(LOOK)
            if await self.renewed():
                changed()

    async def renewed(self) -> bool:
        """Look once; True if there is a new context."""
        new = await self._rotation.renewed()
        self.warn()
        return new

    def warn(self) -> None:
        """Once for each certificate that nobody seems to renew."""
        own = self.validity
        if own is not None and own != self._late and self.seconds_left < LATE * (own.ends - own.begins):
            self._late = own
            self._events.certificate_late(self.version, str(self.config.certificate), self.seconds_left)

    def retire(self) -> None:
        """It is no longer in use: how long its certificate lasts is nobody's concern."""
        if self._events.certificates.get(self.version) is self:
            del self._events.certificates[self.version]

    def describe(self) -> dict[str, Any]:
        """For the admin page."""
        shown: dict[str, Any] = {"verified": self.config.verify}
        if self.validity is not None:
            shown["certificate_ends"] = datetime.fromtimestamp(self.validity.ends, UTC).isoformat()
        return shown


def load(config: TlsConfig) -> Material:
    """Read the files. Raises Unusable, OSError."""
    if not config.files and config.verify:
        return Material(b"", _system(config.minimum), None)
    contents = {path: content_of(path) for path in config.files}
    context = _bare(config.minimum)
    if not config.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif config.ca is None:
        context.load_default_certs()
    else:
        _trust(context, config.ca)
    own = None
    if config.certificate is not None:
        own = _show(context, config.certificate, config.key or config.certificate, contents)
    return Material(hashlib.sha256(b"\0".join(contents.values())).digest(), context, own)


def _bare(minimum: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[minimum]
    return context


@cache
def _system(minimum: str) -> ssl.SSLContext:
    """The system's authorities, and nothing of anybody's own; shared, for it takes 1 MB and 25 ms to load them."""
    context = _bare(minimum)
    context.load_default_certs()
    return context


def _trust(context: ssl.SSLContext, path: str) -> None:
    # What the file names is trusted as it stands there, also if it is no root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise Unusable(f"{path} holds no certificate in PEM form that can be trusted") from None


def _show(context: ssl.SSLContext, path: str, key: str, contents: dict[str, bytes]) -> Validity:
    try:
        own = validity(contents[path].decode("latin-1"))
    except ValueError as error:
        raise Unusable(f"{path} {error}") from None
    try:
        # Without a password of ours OpenSSL would ask for one on the terminal, and wait.
        context.load_cert_chain(path, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise Unusable(f"{key} is not the key of the certificate in {path}") from None
        if b"ENCRYPTED" in contents[key]:
            raise Unusable(f"{key} is encrypted; give the key without a passphrase") from None
        if b"PRIVATE KEY-----" in contents[key]:
            reason = (error.reason or "not understood").lower().replace("_", " ")
            raise Unusable(f"{path} with {key} cannot be used: {reason}") from None
        raise Unusable(f"{key} holds no private key in PEM form") from None
    return own


_VERIFY = {
    10: "its certificate has expired",
    18: "its certificate is self-signed; if that is as it should be, name it in tls.ca",
    19: "its authority is not in tls.ca",
    20: "its authority is not in tls.ca",
    21: "its authority is not in tls.ca",
    62: "its certificate is for another name; set tls.server_name if that is as it should be",
    64: "its certificate is not for this IP address; set tls.server_name to a name that it is for",
}
"""OpenSSL's codes of what is wrong with a certificate (`x509_vfy.h`), in words."""

_REASONS = {
    "WRONG_VERSION_NUMBER": "it does not speak TLS at this port",
    "HTTP_REQUEST": "it does not speak TLS at this port",
    "UNSUPPORTED_PROTOCOL": "it speaks only versions of TLS older than tls.minimum",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it speaks other versions of TLS than ours (tls.minimum)",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it asks for a certificate of ours; set tls.certificate and tls.key",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know the authority of our certificate (tls.certificate)",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "our certificate (tls.certificate) has expired",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not take our certificate (tls.certificate)",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not take our certificate (tls.certificate)",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "our certificate (tls.certificate) was revoked",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it refuses the handshake; it may ask for a certificate of ours (tls.certificate)",
    "TLSV1_ALERT_ACCESS_DENIED": "it refuses our certificate (tls.certificate)",
    "TLSV1_UNRECOGNIZED_NAME": "it does not go by this name (tls.server_name)",
}
"""Reasons of OpenSSL's errors, in words; an alert is what the upstream has said."""


def explained(error: ssl.SSLError, key: str = "tls") -> str:
    """Why a connection has failed: what the upstream does, and which setting (below `key`) has to do with it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        words = _VERIFY.get(error.verify_code, f"its certificate is not accepted: {error.verify_message}")
    else:
        reason = error.reason or ""
        words = _REASONS.get(reason, f"TLS has failed: {reason.lower().replace('_', ' ') or error.strerror or error}")
    return words.replace("tls.", f"{key}.")
