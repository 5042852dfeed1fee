"""What the fake stores share: strictness, and what they keep."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from podpatterns.testing.server import Answer, FakeServer, Seen

Refuse = Callable[[Mapping[str, Any]], bool]


class Malformed(Exception):  # noqa: N818 - named after what it says of a request
    """The request is not what the protocol asks for."""


def need(holds: object, otherwise: str) -> None:
    """Refuse the request unless this holds."""
    if not holds:
        raise Malformed(otherwise)


def answer(status: int, data: Any) -> Answer:
    """An answer in JSON."""
    return Answer(status, json.dumps(data).encode(), {"Content-Type": "application/json"})


class FakeStore(FakeServer):
    """What they share: one path, one content type, and 400 with the reason for anything malformed."""

    PATH = "/"
    CONTENT_TYPE = "application/json"

    def __init__(self) -> None:
        super().__init__()
        self.records: list[dict[str, Any]] = []
        self.malformed: list[str] = []
        """Why requests were refused as a whole; empty if the sender knows the protocol."""
        self.refuse: Refuse = lambda _: False

    def reply(self, seen: Seen) -> Answer:
        """Store, or say what is wrong."""
        try:
            need(seen.method == "POST", "only POST")
            need(seen.path.partition("?")[0] == self.PATH, f"no such path: {seen.path}")
            need(seen.headers.get("Content-Type") == self.CONTENT_TYPE, f"only {self.CONTENT_TYPE}")
            return self.store(seen)
        except (Malformed, ValueError, KeyError, TypeError, AttributeError) as error:
            self.malformed.append(f"{type(error).__name__}: {error}")
            return Answer(400, str(error).encode())

    def store(self, seen: Seen) -> Answer:
        """Keep the request's records. Raises Malformed, or what reading a wrong shape raises."""
        raise NotImplementedError


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON in which no key stands twice."""
    need(len(dict(pairs)) == len(pairs), "a key stands there twice")
    return dict(pairs)
