"""The handshake of Fluent's forward protocol, by which both sides show that they know the same key.

The server says HELO with a nonce, the client PING with a digest of key and nonce, the server PONG with another one. The
key itself is never sent. Source: https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1, "Handshake".
Pure: nonces and salts are arguments.
"""

from __future__ import annotations

import hmac
from hashlib import sha512
from typing import Any, NamedTuple

import msgspec


class HandshakeError(ValueError):
    """The other side does not know the key, or not the protocol; the message says what."""


class Helo(NamedTuple):
    """What the server begins with."""

    nonce: bytes
    auth: bytes
    """The salt for user and password; empty if none are asked for."""


def helo(nonce: str) -> bytes:
    """HELO, from a server that asks for no user."""
    return msgspec.msgpack.encode(["HELO", {"nonce": nonce, "auth": "", "keepalive": True}])


def read_helo(message: Any) -> Helo:
    """What a server says first. Raises HandshakeError."""
    match message:
        case ["HELO", dict(options)]:
            return Helo(_raw(options.get("nonce", b"")), _raw(options.get("auth", b"")))
    raise HandshakeError(f"the far side did not begin with HELO: {str(message)[:60]}")


def ping(greeting: Helo, *, host: str, salt: str, key: str, user: str = "", password: str = "") -> bytes:
    """PING, as the answer to HELO. Raises HandshakeError if the server wants a user and there is none."""
    if greeting.auth and not user:
        raise HandshakeError("the far side asks for a user and a password")
    proof = _digest(greeting.auth, user.encode(), password.encode()) if greeting.auth else ""
    digest = _digest(salt.encode(), host.encode(), greeting.nonce, key.encode())
    return msgspec.msgpack.encode(["PING", host, salt, digest, user if greeting.auth else "", proof])


def check_ping(message: Any, *, nonce: str, key: str, host: str) -> tuple[bytes, str]:
    """The PONG for a PING, and why the client is refused; empty if it is not."""
    match message:
        case ["PING", client, salt, str(digest), *_]:
            salt, client = _raw(salt), _raw(client)
        case _:
            return b"", "the client did not answer HELO with PING"
    if not hmac.compare_digest(digest, _digest(salt, client, nonce.encode(), key.encode())):
        return msgspec.msgpack.encode(["PONG", False, "shared_key mismatch", "", ""]), "another shared key"
    proof = _digest(salt, host.encode(), nonce.encode(), key.encode())
    return msgspec.msgpack.encode(["PONG", True, "", host, proof]), ""


def check_pong(message: Any, greeting: Helo, *, host: str, salt: str, key: str) -> None:
    """Go by what the server says to our PING. Raises HandshakeError."""
    match message:
        case ["PONG", True, _, server, str(digest)]:
            pass
        case ["PONG", False, reason, *_]:
            raise HandshakeError(f"the far side has refused us: {_raw(reason).decode('utf-8', 'replace')[:100]}")
        case _:
            raise HandshakeError(f"the far side did not answer PING with PONG: {str(message)[:60]}")
    if _raw(server) == host.encode():
        # Our own PING, sent back, would be a right PONG.
        raise HandshakeError(f"the far side calls itself {host}, as we do; set hostname to another name on one side")
    if not hmac.compare_digest(digest, _digest(salt.encode(), _raw(server), greeting.nonce, key.encode())):
        raise HandshakeError("the far side does not know the shared key")


def _digest(*parts: bytes) -> str:
    return sha512(b"".join(parts)).hexdigest()


def _raw(value: Any) -> bytes:
    """Text, which others may send as bytes."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str):
        return value.encode()
    raise HandshakeError(f"not text: {str(value)[:40]}")
