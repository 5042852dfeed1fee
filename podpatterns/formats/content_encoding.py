"""The Content-Encoding of a body (RFC 9110, 8.4): gzip, or none; of what others send, and of what they are sent."""

from __future__ import annotations

import zlib

from podpatterns.formats.preferences import preferences


class TooLarge(ValueError):  # noqa: N818 - named after what is wrong
    """The body is larger than allowed."""


def unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """A body without its encoding, but never more than `limit` bytes: a small one may stand for a huge one.

    Raises:
        TooLarge: it has more bytes.
        ValueError: it is neither plain nor one whole gzip member.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        data = body
    elif encoding == "gzip":
        decoder = zlib.decompressobj(wbits=31)
        try:
            data = decoder.decompress(body, limit + 1)
        except zlib.error as error:
            raise ValueError(f"the body is not gzip: {error}") from None
        if len(data) <= limit and (not decoder.eof or decoder.unused_data):
            raise ValueError("the body is not one whole gzip member")
    else:
        raise ValueError(f"the content encoding {encoding} is not known; send gzip or none")
    if len(data) > limit:
        raise TooLarge(f"a body may have {limit} bytes, decompressed")
    return data


def takes_gzip(accepted: str) -> bool:
    """Whether a client that says so in Accept-Encoding takes gzip; what it says of gzip itself counts before `*`."""
    weights = {name: weight for name, _, weight in preferences(accepted)}
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def packed(body: bytes) -> bytes:
    """One gzip member, packed as fast as it goes: a page of metrics becomes a tenth as long even so."""
    return zlib.compress(body, level=1, wbits=31)
