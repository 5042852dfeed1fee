"""Addresses as people write them: `host:port`, `unix:/path`, or a URL that also says whether to speak TLS. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from podpatterns.runtime.units import Address, Url

AUTHORITY = re.compile(r"[A-Za-z0-9.\-_~\[\]:%]+")
"""What may stand in a Host field."""

_NAME = re.compile(r"([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
_PORTS = {"http": 80, "https": 443}


def mistake(address: Address | Url) -> str:
    """Why nothing can be reached there; empty if something may be."""
    if isinstance(address, Url):
        parts = urlsplit(address)
        if "@" in parts.netloc:
            return "holds a user or a password; write credentials: {type: basic, ...}"
        if parts.path not in {"", "/"} or parts.query or parts.fragment:
            return "has a path; an address ends with the host or port, a route's rewrite can set a path"
        if parts.port == 0:
            return "has port 0, which cannot be connected to"
    return unreachable(place(address))


def unreachable(address: Address) -> str:
    """Why nobody can connect to it; empty if somebody may."""
    if address.path is not None:
        return ""
    if not address.host:
        return f'lacks a host; did you mean "127.0.0.1{address}"?'
    if ":" not in address.host and not _nameable(address.host):
        return "has no valid host name: its parts have 1 to 63 letters, digits, hyphens or underscores each"
    return "" if address.port else "has port 0, which cannot be connected to"


def _nameable(host: str) -> bool:
    """Whether a resolver can be asked for it; others raise what is no OSError. A dot at the end is right."""
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            return False
    return _NAME.fullmatch(host) is not None


def place(address: Address | Url) -> Address:
    """Where to connect to."""
    if not isinstance(address, Url):
        return address
    parts = urlsplit(address)
    host = str(parts.hostname)
    return Address(f"{f'[{host}]' if ':' in host else host}:{parts.port or _PORTS[parts.scheme]}")


def plain(address: Address | Url) -> bool:
    """True if it says itself that plain text is spoken there."""
    return isinstance(address, Url) and urlsplit(address).scheme == "http"


def local(address: Address) -> bool:
    """True if what is sent there does not leave this machine, as far as the address says."""
    if address.path is not None or address.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return False


def authority(addresses: Sequence[Address | Url]) -> str | None:
    """The Host of those that are URLs; None if none is. Raises ValueError if they differ."""
    found = list(dict.fromkeys(_authority(each) for each in addresses if isinstance(each, Url)))
    if len(found) > 1:
        raise ValueError(f"is required: the addresses go by several names, {' and '.join(found)}")
    return found[0] if found else None


def _authority(url: Url) -> str:
    parts = urlsplit(url)
    host = str(parts.hostname)
    if not host.isascii():
        host = host.encode("idna").decode()
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in {None, _PORTS[parts.scheme]} else f"{host}:{parts.port}"


def secure(addresses: Sequence[Address | Url]) -> bool:
    """True if they begin with https://. Raises ValueError if only some do."""
    schemes = {urlsplit(each).scheme if isinstance(each, Url) else "" for each in addresses}
    if "https" in schemes and len(schemes) > 1:
        raise ValueError("would partly be spoken to in plain text: write https:// for all of them, or tls: {} for none")
    return "https" in schemes
