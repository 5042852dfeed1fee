"""OAuth 2.0 client credentials (RFC 6749 4.4): what a token endpoint is asked, and what its answers mean. Pure.

No error here holds the secret or a token, whatever the endpoint has said.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote, quote_plus, urlencode

import msgspec

Authentication = Literal["client_secret_basic", "client_secret_post"]
"""How a client shows its secret, in the words of OpenID Connect Core 9: in a header, or in the body."""

LARGEST = 64 * 1024
"""Bytes of an answer; a token that would not fit into a head is of no use."""

LONGEST = 30 * 86400.0
"""Seconds; a token that is good for longer is renewed all the same."""

PATIENCE = 300.0
"""Seconds; whoever asks for a longer wait is asked again all the same."""

_TOKEN = re.compile(r"[!-~]+")
_CODE = re.compile(r"[ -~]{1,64}")

ADVICE = {
    "invalid_client": "check client_id, client_secret and authentication",
    "invalid_scope": "check scope",
    "invalid_target": "check audience and parameters",
    "unauthorized_client": "the client must be allowed to use the grant client_credentials",
    "unsupported_grant_type": "the endpoint must allow the grant client_credentials",
    "access_denied": "check audience and scope, and what the client may do",
    "invalid_request": "check token_url, audience and parameters",
}
"""The errors of RFC 6749 5.2, RFC 8707 2 and what is common beside them; what to do."""


class NoToken(Exception):  # noqa: N818 - what there is instead of one
    """No token this time; the message says why. `after`: seconds to wait, if the endpoint has said so."""

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        self.after = after
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, and for how many seconds it is good from when it was asked for."""

    value: str = field(repr=False)
    seconds: float


def request(
    authentication: Authentication, client_id: str, secret: str, parameters: Mapping[str, str]
) -> tuple[dict[str, str], bytes]:
    """Headers and body of a request for a token."""
    fields = {"grant_type": "client_credentials", **parameters}
    headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    if authentication == "client_secret_basic":
        # RFC 6749 2.3.1: both are encoded as in a form before they are put together.
        pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
        headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    else:
        fields |= {"client_id": client_id, "client_secret": secret}
    return headers, urlencode(fields).encode()


def token_of(status: int, body: bytes, *, secret: str, lifetime: float, after: str | None = None) -> Token:
    """The token in an answer. `lifetime`: seconds, if it does not say; `after`: its Retry-After.

    Raises:
        NoToken: there is none.
    """
    try:
        answer: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        answer = None
    if status != 200:
        wait = min(float(after), PATIENCE) if after and after.isascii() and after.isdecimal() else None
        raise NoToken(_refusal(status, answer, secret), after=wait)
    if not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
        raise NoToken("it answers 200 without an access_token; is token_url that of a token endpoint?")
    if str(answer.get("token_type", "bearer")).lower() != "bearer":
        raise NoToken("its token is of another type than Bearer, which is not known here")
    value = answer["access_token"]
    if not _TOKEN.fullmatch(value):
        raise NoToken("its token cannot stand in a header")
    seconds = min(_seconds(answer.get("expires_in"), lifetime), LONGEST)
    if not seconds > 0:
        raise NoToken("its token has ended already; are the clocks right?")
    return Token(value, seconds)


def _seconds(given: object, otherwise: float) -> float:
    """Some endpoints give the number as a text."""
    if isinstance(given, str) and given.isascii() and given.isdecimal():
        return float(given)
    return float(given) if isinstance(given, (int, float)) and not isinstance(given, bool) else otherwise


def _refusal(status: int, answer: Any, secret: str) -> str:
    """`it answers 401 invalid_client (…); check …`."""
    said = answer if isinstance(answer, dict) else {}
    code, text = said.get("error"), said.get("error_description")
    words = f"it answers {status}"
    if isinstance(code, str) and _CODE.fullmatch(code):
        words += f" {without(code, secret)}"
    if isinstance(text, str) and text.isprintable():
        words += f" ({without(text, secret)[:200]})"
    advice = ADVICE.get(code) if isinstance(code, str) else None
    if advice is None and 300 <= status < 400:
        advice = "redirects are not followed, name the endpoint itself in token_url"
    if advice is None and status in {404, 405}:
        advice = "check token_url"
    return words + (f"; {advice}" if advice else "")


def without(text: str, secret: str) -> str:
    """The text without the secret in any of the forms that it is sent in."""
    for form in sorted(_forms(secret), key=len, reverse=True):
        text = text.replace(form, "***")
    return text


def _forms(secret: str) -> Iterable[str]:
    return {secret, quote(secret), quote_plus(secret), b64encode(secret.encode()).decode()}


def renewal(seconds: float, u: float) -> float:
    """When to ask for the next token, in seconds from now, with `u` drawn evenly from [0, 1).

    With 10 to 25 % of its time left: enough for several tries, and not all replicas at the same time.
    """
    return max(1.0, seconds * (0.75 + 0.15 * u))


def usable(seconds: float) -> float:
    """For how long to show a token: it must not end on its way."""
    return seconds - min(5.0, seconds * 0.05)
