"""Heads as hooks see them: a request or a response, whose first line and fields can be read and changed. Pure.

Nothing is parsed before it is asked for: a head stays the bytes that it is, and each question is one search in them.
Texts are UTF-8; bytes that are none survive the way to a text and back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Final, Protocol

from podpatterns.ambassador.http1.fields import named
from podpatterns.ambassador.http1.grammar import HOST
from podpatterns.ambassador.policies.fields import check_name, check_value
from podpatterns.ambassador.policies.target import check_path, target_of, with_query, with_target
from podpatterns.runtime.schema import InvalidField

_NAMES = re.compile(rb"\r\n([^:\r\n]+):")
_HOST: Final = named(b"host")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


class Headers(MutableMapping[str, str]):
    """The fields of a head, by name in any case.

    Several fields of one name are one text, joined by commas (RFC 9110 5.3); `all` gives them one by one, which
    `Set-Cookie` needs. What frames the message or concerns one connection can be read, not changed.
    """

    __slots__ = ("_head",)

    def __init__(self, head: Head) -> None:
        self._head = head

    def __getitem__(self, name: str) -> str:
        values = self.all(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __setitem__(self, name: str, value: str) -> None:
        """Leave one field of this name. Raises ValueError for a name or value that cannot be."""
        line = self._line(name, value)
        self._head.raw = self._named(name).sub(b"", self._head.raw) + line

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        check_name(name, name)
        self._head.raw = self._named(name).sub(b"", self._head.raw)

    def __iter__(self) -> Iterator[str]:
        """Names in lower case, each once, in the order of the head."""
        return iter(dict.fromkeys(_text(name).lower() for name in _NAMES.findall(self._head.raw)))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._named(name).search(self._head.raw) is not None

    def __repr__(self) -> str:
        """Names alone: values may be secrets."""
        return f"<Headers {', '.join(self)}>"

    def all(self, name: str) -> list[str]:
        """The values of every field of this name, in order."""
        return [_text(value.strip(b" \t")) for value in self._named(name).findall(self._head.raw)]

    def add(self, name: str, value: str) -> None:
        """Put one more field behind the others. Raises ValueError for a name or value that cannot be."""
        self._head.raw += self._line(name, value)

    @staticmethod
    def _named(name: str) -> re.Pattern[bytes]:
        return named(_bytes(name.lower()))

    @staticmethod
    def _line(name: str, value: str) -> bytes:
        check_name(name, name)
        check_value(value, name)
        return _bytes(name) + b": " + _bytes(value) + b"\r\n"


class Answer:
    """What a hook answers in the upstream's place."""

    __slots__ = ("content_type", "fields", "status", "text")

    def __init__(self, status: int, text: str, fields: Mapping[str, str], content_type: str) -> None:
        self.status, self.text, self.content_type = status, text, content_type
        self.fields = fields


class Head:
    """What requests and responses have in common. `raw` is first line and fields, each with its CRLF."""

    __slots__ = ("answered", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.answered: Answer | None = None

    @property
    def headers(self) -> Headers:
        """The fields."""
        return Headers(self)

    def answer(
        self,
        status: int,
        text: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        content_type: str = "text/plain; charset=utf-8",
    ) -> None:
        """Answer in the upstream's place. Raises ValueError for what cannot be sent."""
        if not 200 <= status <= 599:
            raise ValueError(f"{status} is not the status of a final answer: 200 to 599")
        check_value(content_type, "content_type")
        fields = {}
        for name, value in (headers or {}).items():
            check_name(name, name)
            check_value(value, name)
            # A head is written as Latin-1, byte by byte.
            fields[name] = _bytes(value).decode("latin-1")
        self.answered = Answer(status, text, fields, content_type)


class Peer(Protocol):
    """The other end of a connection."""

    @property
    def address(self) -> str:
        """Without its port."""


class RequestHead(Head):
    """A request on its way to the upstream."""

    __slots__ = ("_peer", "listener", "method", "route")

    def __init__(self, raw: bytes, *, peer: Peer, listener: str, route: str) -> None:
        super().__init__(raw)
        self.method = _text(raw[: raw.index(b" ")])
        """In capitals, such as `GET`; it cannot be changed."""
        self.listener, self.route = listener, route
        self._peer = peer

    @property
    def client(self) -> str:
        """The address at the other end of the connection."""
        return self._peer.address

    @property
    def target(self) -> str:
        """Path and query, as they were sent."""
        return _text(target_of(self.raw))

    @property
    def path(self) -> str:
        """The path, as it was sent: nothing is decoded. Setting it keeps the query."""
        return self.target.partition("?")[0]

    @path.setter
    def path(self, path: str) -> None:
        check_path(path, "path", query=True)
        self.raw = with_target(self.raw, with_query(path.encode(), target_of(self.raw)))

    @property
    def query(self) -> str:
        """What stands behind the question mark, as it was sent; empty if there is none."""
        return self.target.partition("?")[2]

    @property
    def host(self) -> str:
        """The Host field."""
        found = _HOST.search(self.raw)
        return "" if found is None else _text(found[1].strip(b" \t"))

    @host.setter
    def host(self, host: str) -> None:
        if HOST.fullmatch(host.encode()) is None:
            raise InvalidField("host", f'"{host}" is not a host; write "name" or "name:port"')
        self.raw = _HOST.sub(b"\r\nHost: " + host.encode(), self.raw, count=1)

    def __repr__(self) -> str:
        """Without query and fields, where secrets stand."""
        return f"<RequestHead {self.method} {self.path}>"


class ResponseHead(Head):
    """The upstream's final response on its way to the client; `request` is what it answers, as it was sent."""

    __slots__ = ("request", "status", "version")

    def __init__(self, raw: bytes, *, status: int, version: str, request: RequestHead) -> None:
        super().__init__(raw)
        self.status = status
        """It cannot be changed; see `answer`."""
        self.version = version
        """The upstream that answers."""
        self.request = request

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status} from {self.version}>"
