"""Asking the admin endpoint. Only the standard library: exec probes start this every few seconds."""

from __future__ import annotations

import http.client
import os
from collections.abc import Sequence
from pathlib import Path

import click

from podpatterns.errors import PodpatternsError

DEFAULTS = ("127.0.0.1:9801", "127.0.0.1:9802", "127.0.0.1:9803", "127.0.0.1:9804")

option = click.option(
    "--admin",
    metavar="ADDRESS",
    envvar="PODPATTERNS_ADMIN",
    help="The admin endpoint, host:port. Default: $PODPATTERNS_ADMIN, else the first of "
    f"{', '.join(address.rpartition(':')[2] for address in DEFAULTS)} that answers.",
)


class Unreachable(PodpatternsError):  # noqa: N818 - what the endpoint is
    """Nobody answers at the admin endpoint."""


def address_in(files: tuple[Path, ...]) -> str | None:
    """The admin endpoint that files configure; None without files. Raises UsageError if they configure none."""
    if not files:
        return None
    from podpatterns.runtime import config

    address = config.load(files).admin
    if address is None or address.path is not None or not address.port:
        raise click.UsageError(f"{', '.join(map(str, files))}: no admin endpoint with a port of its own; use --admin")
    host = "127.0.0.1" if address.host in {"", "0.0.0.0", "::"} else address.host
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"


def ask(
    admin: str | None,
    method: str,
    path: str,
    *,
    timeout: float,
    body: str | None = None,
    defaults: Sequence[str] = DEFAULTS,
) -> tuple[int, str]:
    """One request; the answer's status and body. Raises Unreachable, naming every address that was tried."""
    tried = []
    for address in (admin,) if admin else defaults:
        host, _, port = address.rpartition(":")
        if not (port.isdecimal() and 0 < int(port) < 65536):
            raise click.UsageError(f'"{address}" is not an address; write host:port, such as 127.0.0.1:9801')
        connection = http.client.HTTPConnection(host.strip("[]") or "127.0.0.1", int(port), timeout=timeout)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read(1 << 20).decode("utf-8", "replace").strip()
        except (OSError, http.client.HTTPException, UnicodeError) as error:  # the last: a name that is none
            tried.append(f"{address}: {getattr(error, 'strerror', None) or str(error) or type(error).__name__}")
        finally:
            connection.close()
    hint = "" if os.environ.get("PODPATTERNS_ADMIN") or admin else " (name it with --admin)"
    raise Unreachable(f"no admin endpoint answers: {'; '.join(tried)}{hint}")
