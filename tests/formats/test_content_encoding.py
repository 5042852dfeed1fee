"""Laws of the encodings of bodies: what is taken, and what is sent to whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.formats.content_encoding import TooLarge, packed, takes_gzip, unpacked


@given(st.binary(max_size=2000))
def test_what_is_packed_is_unpacked(body: bytes) -> None:
    """One whole member, and never more than is allowed."""
    assert unpacked(packed(body), "gzip", len(body)) == body
    if body:
        with pytest.raises(TooLarge):
            unpacked(packed(body), "gzip", len(body) - 1)
        with pytest.raises(ValueError, match="not one whole gzip member"):
            unpacked(packed(body)[:-1], "gzip", len(body))


@pytest.mark.parametrize(
    ("accepted", "taken"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.1, br", True),
        ("*", True),
        ("*;q=0, gzip", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("gzip;q=2", False),
        ("gzip;q=much", False),
        ("gzip;q=nan", False),
        ("gzipped, ;;,=, q=1", False),
    ],
)
def test_who_takes_gzip(accepted: str, taken: bool) -> None:
    """Whoever names it with a weight; what is no weight counts as none (RFC 9110, 12.5.3)."""
    assert takes_gzip(accepted) is taken
