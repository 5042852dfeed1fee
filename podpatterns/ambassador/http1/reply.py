"""Answers that the proxy gives itself."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from podpatterns.formats.http1 import Refused


def phrase(status: int) -> str:
    """The standard reason phrase."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def reply(
    status: int,
    text: str,
    *,
    method: bytes = b"GET",
    persistent: bool = False,
    fields: Mapping[str, str] | None = None,
    content_type: str = "text/plain; charset=utf-8",
) -> bytes:
    """A whole response with a text for people. A HEAD gets the same head without the body.

    Values in `fields` come from the configuration, which has checked that they hold no line ends.
    """
    body = text.encode()
    lines = [f"HTTP/1.1 {status} {phrase(status)}"]
    if status not in {204, 304}:
        lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    else:
        body = b""
    lines += [f"{name}: {value}" for name, value in (fields or {}).items()]
    if not persistent:
        lines.append("Connection: close")
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    return head if method == b"HEAD" else head + body


def refusal(error: Refused, method: bytes = b"GET") -> bytes:
    """The answer to a refused request. The connection ends with it: nobody knows where the next request starts."""
    return reply(error.status, f"podpatterns: {error}\n", method=method)
