"""Credentials for git over http and https: for which host, and how git gets them without anyone else seeing them.

git asks a helper, which is a line of shell in its settings. A password goes from its file to git through a pipe; what
an `askpass` server has answered, through memory that only git inherits. Neither stands in arguments or the environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from podpatterns.init.steps import Fatal, Transient
from podpatterns.runtime import http_get
from podpatterns.runtime.schema import Config, InvalidField
from podpatterns.runtime.units import SecretFile, Url

Username = Annotated[str, msgspec.Meta(pattern=r"^[^\r\n]+$")]

PATIENCE = 10.0
"""Seconds for an askpass server to answer; it is asked again then."""
ANSWER = 16 * 1024
"""Bytes of an askpass server's answer that are read; a user name and a token are two short lines."""


class CredentialConfig(Config, frozen=True, kw_only=True):
    """Who to be at one host."""

    url: Url
    """The host: scheme, name and port of an http or https URL. Only this host is given the secret, also if a server
    redirects elsewhere."""

    username: Username = "git"
    """The user; what hosts expect with an access token differs. Not used with `askpass`, which names its own."""

    password: SecretFile | None = None
    """A file with the password or access token, read anew at each use, so that it can be rotated."""

    askpass: Url | None = None
    """A server that hands out credentials, asked anew for each use: it answers a GET with two lines, `username=…` and
    `password=…`, as git-sync's `--askpass-url` expects it."""

    def __post_init__(self) -> None:
        """Exactly one of two ways."""
        if (self.password is None) == (self.askpass is None):
            raise InvalidField("password", "name one of `password` and `askpass`")
        parts = urlsplit(self.url)
        if parts.path.strip("/") or parts.query:
            raise InvalidField("url", f"credentials are for a host; write {parts.scheme}://{parts.netloc}")
        if parts.username is not None:
            raise InvalidField("url", "a user does not belong in the URL: see `username`")

    @property
    def host(self) -> str:
        """The scheme, name and port, as git's settings name a host."""
        return self.url.rstrip("/")


@dataclass(frozen=True, slots=True)
class Given:
    """What one run of git is given: settings, and the descriptors that it must inherit."""

    settings: tuple[tuple[str, str], ...] = ()
    descriptors: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Credentials:
    """Those of a step."""

    each: Sequence[CredentialConfig] = ()

    @contextlib.asynccontextmanager
    async def given(self) -> AsyncIterator[Given]:
        """What git is to be told for its next run. Raises Transient and Fatal where a server has no answer."""
        settings: list[tuple[str, str]] = []
        descriptors: list[int] = []
        try:
            for credential in self.each:
                if credential.password is not None:
                    helper = _from_file(credential.username, credential.password)
                else:
                    assert credential.askpass is not None
                    answer = await _asked(credential.askpass)
                    descriptors.append(os.memfd_create("credentials", os.MFD_CLOEXEC))
                    os.write(descriptors[-1], answer)
                    # Opened anew by its name, it is read from its beginning, however often git asks.
                    helper = _shell(f"cat /dev/fd/{descriptors[-1]}")
                settings.append((f"credential.{credential.host}.helper", helper))
            yield Given(tuple(settings), tuple(descriptors))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def _from_file(username: str, password: str) -> str:
    return _shell(f'printf "username=%s\npassword=%s\n" {shlex.quote(username)} "$(cat {shlex.quote(password)})"')


def _shell(command: str) -> str:
    """A helper that only hands out: git would also have it store and forget."""
    return f'!f() {{ test "$1" = get && {command}; }}; f'


async def _asked(url: Url) -> bytes:
    """The two lines that git wants, from an askpass server."""
    place = f"askpass {url.redacted}"
    try:
        async with asyncio.timeout(PATIENCE):
            status, body = await http_get.get_url(url, body=True, limit=ANSWER)
    except TimeoutError:
        raise Transient(f"{place}: no answer within {PATIENCE:g} s") from None
    except (OSError, http_get.BadAnswer) as error:
        raise Transient(f"{place}: {error}") from None
    if status != HTTPStatus.OK:
        raise Transient(f"{place}: status {status}")
    found = dict(line.partition(b"=")[::2] for line in body.splitlines())
    if not {b"username", b"password"} <= found.keys():
        raise Fatal(f"{place}: no credentials in the answer", "it must hold the lines username=… and password=…")
    return b"username=%s\npassword=%s\n" % (found[b"username"], found[b"password"])
