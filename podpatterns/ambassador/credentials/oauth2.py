"""`type: oauth2`: access tokens by OAuth 2.0 client credentials (RFC 6749 4.4)."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from random import random
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from podpatterns.ambassador.credentials import Credential, CredentialConfig, one_line
from podpatterns.ambassador.endpoints import origin
from podpatterns.ambassador.post import post
from podpatterns.ambassador.rotation import LOOK, Rotation
from podpatterns.ambassador.tls import Tls, TlsConfig, explained
from podpatterns.ambassador.token_endpoint import (
    LARGEST,
    Authentication,
    NoToken,
    Token,
    renewal,
    request,
    token_of,
    usable,
)
from podpatterns.formats.http1 import Refused
from podpatterns.runtime.backoff import Backoff
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Duration, SecretFile, Url

if TYPE_CHECKING:
    from podpatterns.ambassador.events import AmbassadorEvents

YOUNG = 10.0
"""Seconds; an upstream that refuses a token this young would refuse the next one, too."""

OWN = frozenset({"grant_type", "client_id", "client_secret", "scope", "audience"})


class Oauth2Config(CredentialConfig, frozen=True, kw_only=True):
    """`Authorization: Bearer …` with an access token of a token endpoint, renewed before it ends.

    One request for a token is under way at a time. Requests of the application wait for the first token, as long as
    the upstream's `connect` allows; then they are answered 503. After an answer 401 another token is fetched, and the
    request is sent again, once, whatever its method: what was not authorized has had no effect.
    """

    EXAMPLE: ClassVar[str] = """
type: oauth2
token_url: https://login.example.org/oauth2/token
client_id: shop
client_secret: /var/run/secrets/orders/client-secret
scope: orders.read orders.write
audience: https://orders.example.org
"""

    token_url: Url
    """The token endpoint. Redirects are not followed."""

    client_id: str
    """The name by which the token endpoint knows this client."""

    client_secret: SecretFile
    """The file with the client's secret; line ends behind it are no part of it. When it changes, a token is fetched
    with the new one at once."""

    scope: str | None = None
    """What the token is to allow, with a space between several. None: what the endpoint gives by itself."""

    audience: str | None = None
    """Whom the token is for, where the endpoint wants to know (Auth0 does). None: not sent."""

    parameters: dict[str, str] = {}
    """More parameters of the request, such as `resource`. They are shown in `/config`: no place for secrets."""

    authentication: Authentication = "client_secret_basic"
    """How the secret is shown: in a header, which every endpoint must know (RFC 6749 2.3.1), or in the body."""

    tls: TlsConfig | None = None
    """Whom to trust, and who we are, where `token_url` begins with https. None: the system's authorities."""

    timeout: Duration = Duration("10s")
    """How long one request for a token may take altogether."""

    lifetime: Duration = Duration("5m")
    """How long a token is good if the endpoint does not say. Short: another one is cheap, an answer 401 is not."""

    def __post_init__(self) -> None:
        """Everything in its own place."""
        if not self.token_url.isascii() or not self.token_url.isprintable() or " " in self.token_url:
            raise InvalidField("token_url", "must be in ASCII; write %20 for a space, and the like")
        if reason := origin.unreachable(origin.place(self.token_url)):
            raise InvalidField("token_url", reason)
        if "@" in urlsplit(self.token_url).netloc:
            raise InvalidField("token_url", "holds a user; write client_id and client_secret instead")
        if self.tls is not None and origin.plain(self.token_url):
            raise InvalidField("tls", 'needs a token_url that begins with "https://"')
        if not self.client_id or not self.client_id.isprintable():
            raise InvalidField("client_id", "must be one line of text")
        for name in self.parameters:
            if name in OWN:
                raise InvalidField(f"parameters.{name}", f"is set by itself{_place(name)}")
        for name in ("timeout", "lifetime"):
            if not getattr(self, name):
                raise InvalidField(name, "must be longer than 0s")

    @property
    def fields(self) -> dict[str, str]:
        """The parameters of a request, but for those that say who asks."""
        given = {"scope": self.scope, "audience": self.audience}
        return {**{name: value for name, value in given.items() if value}, **self.parameters}

    def build(self, version: str, events: AmbassadorEvents) -> Oauth2:
        """See CredentialConfig."""
        return Oauth2(self, version, events)


def _place(name: str) -> str:
    return "" if name == "grant_type" else f", by the key {name} beside parameters"


class Oauth2(Credential):
    """Holds the current token, and renews it: one task asks, whoever needs a token waits for its result."""

    _AGAIN = Backoff(first=0.5, cap=30.0)

    def __init__(self, config: Oauth2Config, version: str, events: AmbassadorEvents) -> None:
        self.name = b"Authorization"
        self.config = config
        self.version = version
        self._events = events
        path = config.client_secret
        self._secret = Rotation([path], lambda: one_line(path), what="credentials", version=version, events=events)
        self._tls: Tls | None = None
        if not origin.plain(config.token_url):
            self._tls = Tls(config.tls or TlsConfig(), f"{version} (token endpoint)", events)
        elif not origin.local(origin.place(config.token_url)):
            events.credentials_unprotected(version, config.token_url.redacted)
        self._line = b""
        self._taken = self._ends = float("-inf")
        self._wanted = asyncio.Event()
        """Set when a token is needed before the time."""

    @property
    def line(self) -> bytes:
        """See Credential."""
        return self._line

    def reject(self, line: bytes) -> bool:
        """See Credential. A token that was refused is not shown again; the next one is fetched once, for all."""
        if line != self._line or not line:
            return True
        if asyncio.get_running_loop().time() - self._taken < YOUNG:
            return False
        self._line = b""
        self._wanted.set()
        return True

    async def run(self, changed: Callable[[], None]) -> None:
        """See Credential."""
        loop = asyncio.get_running_loop()
        attempt = 0
        if self._tls is not None:
            self._tls.use()

        def expired() -> None:
            if self._line:
                self._line = b""
                self._events.token_expired(self.version)
                changed()

        end: asyncio.TimerHandle | None = None
        try:
            while True:
                self._wanted.clear()
                asked = loop.time()
                try:
                    token = await self._fetch()
                except NoToken as error:
                    self.problem = f"no access token from {self.config.token_url.redacted}: {error}"
                    # Between half of the bound and the bound: not at once, and not all at the same time.
                    wait = max(error.after or 0.0, self._AGAIN.delay(attempt, 0.5 + random() / 2))  # noqa: S311 - jitter
                    attempt += 1
                    self._events.token_failed(self.version, self.problem, wait)
                    if not self._line:
                        changed()
                else:
                    attempt, self.problem = 0, ""
                    self._line = b"Authorization: Bearer %b\r\n" % token.value.encode()
                    self._taken, self._ends = loop.time(), asked + token.seconds
                    if end is not None:
                        end.cancel()
                    end = loop.call_at(asked + usable(token.seconds), expired)
                    wait = renewal(token.seconds, random())  # noqa: S311 - jitter
                    self._events.token_taken(self.version, token.seconds)
                    changed()
                await self._rest(wait)
        finally:
            if end is not None:
                end.cancel()

    async def _rest(self, seconds: float) -> None:
        """Until it is time, a token is wanted, or the files for the next request are new."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := until - loop.time()) > 0:
            try:
                async with asyncio.timeout(min(left, LOOK)):
                    await self._wanted.wait()
            except TimeoutError:
                secret = self._secret.look()
                trust = self._tls is not None and await self._tls.renewed()
                if not secret and not trust:
                    continue
            return

    async def _fetch(self) -> Token:
        """Ask for a token. Raises NoToken."""
        config, secret = self.config, self._secret.current
        fields, body = request(config.authentication, config.client_id, secret, config.fields)
        try:
            async with asyncio.timeout(config.timeout):
                reply = await post(config.token_url, fields, body, tls=self._tls, largest=LARGEST)
        except TimeoutError:
            raise NoToken(f"it does not answer within {config.timeout}") from None
        except ssl.SSLError as error:
            raise NoToken(explained(error, "credentials.tls")) from None
        except OSError as error:
            raise NoToken(f"it cannot be reached: {_reason(error)}") from None
        except Refused as error:
            raise NoToken(f"its answer cannot be read: {error}") from None
        return token_of(
            reply.status, reply.body, secret=secret, lifetime=config.lifetime, after=reply.field(b"retry-after")
        )

    def describe(self) -> str:
        """See Credential."""
        if not self._line:
            return self.problem or "no access token yet"
        return f"access token for another {max(0.0, self._ends - asyncio.get_running_loop().time()):.0f}s"

    def retire(self) -> None:
        """See Credential."""
        if self._tls is not None:
            self._tls.retire()


def _reason(error: OSError) -> str:
    """In the same words whichever loop has made it."""
    if error.errno is None or isinstance(error, socket.gaierror):
        return (error.strerror or str(error)).lower()
    return os.strerror(error.errno).lower()
