"""How long a certificate is valid: the little of X.509 that a proxy has to read by itself. Pure.

The standard library tells the dates of a peer's certificate, but not those of one in a file. They stand at a fixed
place in its DER encoding (RFC 5280 4.1): after version, serial number, algorithm and issuer.
"""

from __future__ import annotations

import re
from base64 import b64decode
from datetime import UTC, datetime
from typing import NamedTuple

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----\s(.+?)\s-----END CERTIFICATE-----", re.DOTALL)

SEQUENCE, INTEGER, VERSION, UTC_TIME, GENERALIZED_TIME = 0x30, 0x02, 0xA0, 0x17, 0x18
"""Tags of ASN.1's distinguished encoding rules."""


class Validity(NamedTuple):
    """When it begins and ends, in seconds since 1970."""

    begins: float
    ends: float


def validity(pem: str) -> Validity:
    """Of the first certificate in a PEM file, which is the one's own; the others lead to its authority.

    Raises:
        ValueError: there is none, or it cannot be read.
    """
    block = _BLOCK.search(pem)
    if block is None:
        raise ValueError("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
    try:
        return _dates(b64decode("".join(block[1].split()), validate=True))
    except ValueError:
        raise ValueError("holds something between BEGIN and END CERTIFICATE that is not a certificate") from None


def _dates(der: bytes) -> Validity:
    _, certificate = _element(der, 0, SEQUENCE)
    at, _end = _element(der, certificate[0], SEQUENCE)[1]
    if der[at : at + 1] == bytes([VERSION]):
        at = _element(der, at, VERSION)[0]
    for tag in (INTEGER, SEQUENCE, SEQUENCE):  # serial number, algorithm, issuer
        at = _element(der, at, tag)[0]
    at, _end = _element(der, at, SEQUENCE)[1]
    at, begins = _time(der, at)
    _, ends = _time(der, at)
    return Validity(begins, ends)


def _element(der: bytes, at: int, tag: int) -> tuple[int, tuple[int, int]]:
    """Where the next element starts, and where this one's content lies. Raises ValueError."""
    if der[at : at + 1] != bytes([tag]) or len(der) < at + 2:
        raise ValueError("not the element that stands here in a certificate")
    length, start = der[at + 1], at + 2
    if length >= 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[at + 2 : start], "big")
    if start + length > len(der):
        raise ValueError("the end is missing")
    return start + length, (start, start + length)


def _time(der: bytes, at: int) -> tuple[int, float]:
    """UTCTime has two digits for years from 1950 to 2049 (RFC 5280 4.1.2.5.1), GeneralizedTime four."""
    tag = der[at] if at < len(der) else 0
    if tag not in (UTC_TIME, GENERALIZED_TIME):
        raise ValueError("not a date")
    after, (start, end) = _element(der, at, tag)
    text = der[start:end].decode("ascii")
    if tag == UTC_TIME:
        text = ("19" if text >= "5" else "20") + text
    return after, datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
