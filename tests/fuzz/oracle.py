"""A second reader of HTTP/1.1, to hold the ambassador's own against: written from RFC 9112 alone, line by line.

It shares no code and no expression with the product, prefers being obvious to being fast, and reads whole streams: the
messages in them up to the first that is not complete or not well-formed. Where the RFC leaves a choice it takes the
strict one: one Content-Length, `chunked` alone, no folding, CRLF alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
VALUE = frozenset([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
TARGET = frozenset(range(0x21, 0x7F)) - frozenset(b"#")
"""Wider than RFC 3986, which has no `|`, `{`, `"`: browsers send them, and nobody reads them as a delimiter."""
HOST = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=%:[]")
HEX = frozenset(b"0123456789abcdefABCDEF")
DIGITS = frozenset(b"0123456789")
HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade", b"http2-settings"}
)
UNTIL_CLOSE = -2


class FlawError(Exception):
    """Not a message; says why."""

    data = b""
    """From the start of a head that is none."""


@dataclass
class Message:
    """One message as far as it has come: `complete` if that is all of it."""

    first: tuple[bytes, ...]
    """Method, target, version; or version, status, reason."""
    fields: list[tuple[bytes, bytes]]
    """Names in lower case, values without white space around them, in order."""
    payload: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    complete: bool = False

    def values(self, name: bytes) -> list[bytes]:
        return [value for each, value in self.fields if each == name]

    @property
    def options(self) -> set[bytes]:
        return {option.strip(b" \t") for value in self.values(b"connection") for option in value.lower().split(b",")}

    @property
    def end_to_end(self) -> list[tuple[bytes, bytes]]:
        """The fields that an intermediary passes on, but for those that frame the body."""
        gone = HOP_BY_HOP | self.options | {b"content-length", b"host", b"via"}
        return [each for each in self.fields if each[0] not in gone]


def requests(data: bytes) -> tuple[list[Message], FlawError | None]:
    """Every request in a stream; the last one may be incomplete. What is wrong with what follows them."""
    found: list[Message] = []
    while True:
        while data.startswith(b"\r\n"):
            data = data[2:]
        start = data
        try:
            cut = _head(data)
            if cut is None:
                return found, None
            head, data = cut
            message = _request(head)
            found.append(message)
            data = _body(message, data, request_length(message))
        except FlawError as error:
            error.data = start
            return found, error
        if not message.complete:
            return found, None


def responses(data: bytes, methods: list[bytes], *, closed: bool = True) -> tuple[list[Message], FlawError | None]:
    """Every response in a stream that answers requests with these methods; interim ones are listed, too."""
    found: list[Message] = []
    waiting = list(methods)
    while data and waiting:
        try:
            cut = _head(data)
            if cut is None:
                return found, FlawError("a head is cut off") if closed else None
            head, data = cut
            message = _response(head)
            found.append(message)
            length = response_length(message, waiting[0])
            if length == UNTIL_CLOSE:
                message.payload, data = data, b""
                message.complete = closed
                return found, None
            data = _body(message, data, length)
        except FlawError as error:
            return found, error
        if not message.complete:
            return found, FlawError("a body is cut off") if closed else None
        if message.first[1][:1] != b"1":
            waiting.pop(0)
    return found, FlawError("more than was asked for") if data else None


def _head(data: bytes) -> tuple[list[bytes], bytes] | None:
    end = data.find(b"\r\n\r\n")
    bare = next((at for at, byte in enumerate(data) if byte == 10 and data[at - 1 : at] != b"\r"), -1)
    if bare >= 0 and (end < 0 or bare < end):
        raise FlawError("a line that ends with LF alone")
    if end < 0:
        return None
    return data[:end].split(b"\r\n"), data[end + 4 :]


def _request(lines: list[bytes]) -> Message:
    parts = lines[0].split(b" ")
    if len(parts) != 3:
        raise FlawError("the first line has not three parts")
    method, target, version = parts
    if not method or not TOKEN.issuperset(method):
        raise FlawError("the method is no token")
    if not target or not TARGET.issuperset(target):
        raise FlawError("the target has bytes that no target has")
    if version not in {b"HTTP/1.1", b"HTTP/1.0"}:
        raise FlawError("not a version of HTTP/1")
    message = Message((method, target, version), _fields(lines[1:]))
    hosts = message.values(b"host")
    if len(hosts) > 1 or (not hosts and version == b"HTTP/1.1"):
        raise FlawError("not one Host")
    if hosts and (not hosts[0] or not HOST.issuperset(hosts[0])):
        raise FlawError("Host is no host")
    return message


def _response(lines: list[bytes]) -> Message:
    version, _, rest = lines[0].partition(b" ")
    status, _, reason = rest.partition(b" ")
    if version not in {b"HTTP/1.1", b"HTTP/1.0"}:
        raise FlawError("not a version of HTTP/1")
    if len(status) != 3 or not DIGITS.issuperset(status) or not b"100" <= status <= b"599":
        raise FlawError("no status")
    if not VALUE.issuperset(reason):
        raise FlawError("a control byte in the reason")
    return Message((version, status, reason), _fields(lines[1:]))


def _fields(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or not TOKEN.issuperset(name):
            raise FlawError("a line that is no field")
        if not VALUE.issuperset(value):
            raise FlawError("a control byte in a field")
        fields.append((name.lower(), value.strip(b" \t")))
    return fields


def request_length(message: Message) -> int | None:
    """The body's length; None for chunked."""
    lengths, codings = message.values(b"content-length"), message.values(b"transfer-encoding")
    if codings:
        if lengths or len(codings) > 1 or codings[0].lower() != b"chunked" or message.first[2] == b"HTTP/1.0":
            raise FlawError("Transfer-Encoding is ambiguous")
        return None
    return _length(lengths) if lengths else 0


def response_length(message: Message, method: bytes) -> int | None:
    """The body's length; None for chunked."""
    lengths, codings = message.values(b"content-length"), message.values(b"transfer-encoding")
    if codings and (lengths or len(codings) > 1 or codings[0].lower() != b"chunked" or message.first[0] == b"HTTP/1.0"):
        raise FlawError("Transfer-Encoding is ambiguous")
    length = _length(lengths) if lengths else UNTIL_CLOSE
    if method == b"HEAD" or message.first[1] in {b"204", b"304"} or message.first[1].startswith(b"1"):
        return 0
    return None if codings else length


def _length(values: list[bytes]) -> int:
    if len(values) > 1 or not values[0] or not DIGITS.issuperset(values[0]) or len(values[0]) > 18:
        raise FlawError("Content-Length is not one number")
    return int(values[0])


def _body(message: Message, data: bytes, length: int | None) -> bytes:
    """Take the body out of `data`; what follows it."""
    if length is not None:
        message.payload = data[:length]
        message.complete = len(data) >= length
        return data[length:]
    while True:
        end = data.find(b"\r\n")
        line = data if end < 0 else data[:end]
        if b"\n" in line:
            raise FlawError("a chunk's first line ends with LF alone")
        if end < 0:
            return b""
        digits, semicolon, extension = line.partition(b";")
        if not digits or not HEX.issuperset(digits) or len(digits) > 15:
            raise FlawError("no chunk size")
        if semicolon and not VALUE.issuperset(extension):
            raise FlawError("a control byte in an extension")
        size, data = int(digits, 16), data[end + 2 :]
        if not size:
            return _trailers(message, data)
        message.payload += data[:size]
        after, data = data[size : size + 2], data[size + 2 :]
        if not b"\r\n".startswith(after):
            raise FlawError("a chunk is longer than its size")
        if len(after) < 2:
            return b""


def _trailers(message: Message, data: bytes) -> bytes:
    if data.startswith(b"\r\n"):
        message.complete = True
        return data[2:]
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return b""
    message.trailers = _fields(data[:end].split(b"\r\n"))
    message.complete = True
    return data[end + 4 :]
