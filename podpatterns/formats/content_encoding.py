"""The Content-Encoding of a body that somebody else has sent (RFC 9110, 8.4): gzip, or none."""

from __future__ import annotations

import zlib


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
