"""Outputs that push over HTTP: a kept-alive connection, a token, and what an answer means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podpatterns.adapter.outputs import OutputContext
from podpatterns.adapter.pushing import Push, PushConfig
from podpatterns.errors import Rejected, Retryable
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import SecretFile, Url

if TYPE_CHECKING:
    from aiohttp import ClientSession

_SAID = 4096
"""Bytes of an answer that are looked at."""


class PostConfig(PushConfig, frozen=True, kw_only=True):
    """What all outputs that push over HTTP have in common."""

    url: Url
    """Where to post to. Redirects are not followed."""

    token: SecretFile | None = None
    """A file with a token that is sent as `Authorization`, read anew for each delivery. None: nothing is sent."""

    headers: dict[str, str] = {}
    """Fields that each request bears, such as `X-Scope-OrgID` for a tenant. Not for secrets: `token` is."""

    def __post_init__(self) -> None:
        """Check what a type cannot say."""
        super().__post_init__()
        for name, value in self.headers.items():
            if not name or not name.isascii() or not name.isprintable() or any(mark in name for mark in ' :"(),/;'):
                raise InvalidField(f"headers.{name}", f'"{name}" is no name of a field')
            if not value.isprintable():
                raise InvalidField(f"headers.{name}", "a field's value is one line")
            if name.lower() == "authorization":
                raise InvalidField(f"headers.{name}", "a secret does not belong into a configuration; use `token`")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the far side said; `body` is the beginning of it, names of `fields` are found in any case."""

    status: int
    reason: str
    fields: Mapping[str, str]
    body: bytes

    def __str__(self) -> str:
        text = self.body[:300].decode("utf-8", "replace").strip()
        return f"answered {self.status} {self.reason}: {text}".rstrip(": ")


class Post(Push):
    """Posts over a kept-alive connection."""

    scheme = "Bearer"
    """What stands in front of the token."""

    def again(self, status: int) -> bool:
        """Whether the same body may be taken later."""
        return status >= 500 or status in (408, 425, 429)

    def judge(self, answer: Answer, body: bytes) -> None:  # noqa: ARG002 - for those that look what it held
        """Return if the body was taken. Raises Retryable or Rejected."""
        if answer.status < 300:
            return
        if self.again(answer.status):
            raise Retryable(str(answer), after=_seconds(answer.fields.get("Retry-After", "")))
        raise Rejected(str(answer))

    def __init__(self, config: PostConfig, fields: dict[str, str], context: OutputContext) -> None:
        super().__init__(config, config.url.redacted, context)
        self._post = config
        self._fields = {"User-Agent": "podpatterns-adapter", **fields, **config.headers}
        self._session: ClientSession | None = None

    async def start(self) -> None:
        """Prepare the client; the far side itself may come up later."""
        from aiohttp import ClientSession, ClientTimeout

        # Push has the deadline; aiohttp's own total of five minutes would only be a second one.
        self._session = ClientSession(timeout=ClientTimeout(total=None))

    async def stop(self) -> None:
        """Close the connection."""
        await super().stop()
        if self._session is not None:
            await self._session.close()

    async def deliver(self, body: bytes) -> None:
        """Post it."""
        from aiohttp import ClientError

        assert self._session is not None, "started"
        fields = self._fields
        if self._post.token is not None:
            fields = {**fields, "Authorization": f"{self.scheme} {_token(self._post.token)}"}
        try:
            async with self._session.post(self._post.url, data=body, headers=fields, allow_redirects=False) as answer:
                said = await answer.content.read(_SAID)
                self.judge(Answer(answer.status, answer.reason or "", answer.headers, said), body)
        except ClientError as error:
            raise Retryable(str(error) or type(error).__name__) from None


def _token(file: SecretFile) -> str:
    token = file.read()
    if not token or not token.isascii() or not token.isprintable():
        raise Retryable(f"{file} must hold a token: one line of ASCII")  # without what it holds: it may be a secret
    return token


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None
