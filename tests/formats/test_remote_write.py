"""Laws of the protobuf primitives and of remote write."""

from __future__ import annotations

import contextlib
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.formats import remote_write
from podpatterns.formats.families import Family
from podpatterns.formats.protobuf import chunk, double, fields, varint, whole

int64 = st.integers(-(2**63), 2**63 - 1)
entries = st.lists(
    st.tuples(st.integers(1, 2**29 - 1), int64 | st.floats(allow_nan=False) | st.binary(max_size=300)), max_size=10
)


def written(each: list[tuple[int, int | float | bytes]]) -> bytes:
    writers = {int: whole, float: double, bytes: chunk}
    return b"".join(writers[type(value)](number, value) for number, value in each)  # type: ignore[operator]


def test_varints_are_those_of_the_specification() -> None:
    """The examples of protobuf.dev."""
    assert varint(1) == b"\x01"
    assert varint(150) == b"\x96\x01"
    assert varint(-2) == b"\xfe" + b"\xff" * 8 + b"\x01"
    assert chunk(2, b"testing") == bytes.fromhex("120774657374696e67")


@given(entries)
def test_messages_are_read_as_they_were_written(each: list[tuple[int, int | float | bytes]]) -> None:
    """parse(render(x)) = x."""
    assert list(fields(written(each))) == each


@given(entries, st.data())
def test_a_message_that_is_cut_short_says_so(each: list[tuple[int, int | float | bytes]], data: st.DataObject) -> None:
    """Cut anywhere, a message is either whole fields or an error, never nonsense."""
    message = written(each)
    at = data.draw(st.integers(0, len(message)))
    found = []
    with contextlib.suppress(ValueError):
        found.extend(fields(message[:at]))
    assert found == each[: len(found)]


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Nothing but ValueError is raised."""
    with contextlib.suppress(ValueError):
        remote_write.read(data)


names = st.from_regex(r"[a-z_:][a-z0-9_:]{0,6}", fullmatch=True)
labels = st.dictionaries(
    st.from_regex(r"[A-Za-z][a-zA-Z0-9_]{0,6}", fullmatch=True),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
family_samples = st.lists(st.tuples(labels, st.floats(allow_nan=False)), min_size=1, max_size=5)


@given(st.dictionaries(names, family_samples, max_size=4), st.integers(-(10**9), 4 * 10**9))
def test_families_are_read_as_they_were_written(found: dict[str, list[tuple[dict[str, str], float]]], now: int) -> None:
    """parse(render(x)) = x, whatever labels hold; labels are sorted by their bytes, as receivers want them."""
    families = []
    for name, each in found.items():
        families.append(Family(name, "gauge"))
        for pairs, value in each:
            families[-1].add(value, pairs.items())
    expected = [
        remote_write.Series(tuple(sorted({**pairs, "__name__": name}.items())), ((value, float(now)),))
        for name, each in found.items()
        for pairs, value in each
    ]
    messages = remote_write.Writer({}, samples=3).write(families, float(now))
    assert [series for message in messages for series in remote_write.read(message)] == expected
    assert all(len(remote_write.read(message)) <= 3 for message in messages)


def test_histograms_own_times_and_added_labels() -> None:
    """Samples bear their suffixes and their own times; added labels give way to those of the series."""
    family = Family(
        "h", "histogram", blocks=['{job="x",le="+Inf"}', ""], values=[2.0, 2.0], suffixes=["_bucket", "_sum"]
    )
    family.stamps = [7.0, None]
    (message,) = remote_write.Writer({"job": "shop"}).write([family], 9.0)
    assert remote_write.read(message) == [
        remote_write.Series((("__name__", "h_bucket"), ("job", "x"), ("le", "+Inf")), ((2.0, 7.0),)),
        remote_write.Series((("__name__", "h_sum"), ("job", "shop")), ((2.0, 9.0),)),
    ]


def test_series_that_are_gone_are_marked_as_stale_once() -> None:
    """The marker is Prometheus' own NaN, bit for bit; an ordinary NaN is none."""
    writer = remote_write.Writer({})
    writer.write([Family("a", blocks=["", '{k="v"}'], values=[1.0, math.nan])], 1.0)
    (message,) = writer.write([Family("a", blocks=[""], values=[math.nan])], 2.0)
    assert remote_write.STALE in message
    assert message.count(struct.pack("<d", math.nan)) == 1
    assert [series.labels for series in remote_write.read(message)] == [
        (("__name__", "a"),),
        (("__name__", "a"), ("k", "v")),
    ]
    (message,) = writer.write([Family("a", blocks=[""], values=[1.0])], 3.0)
    assert remote_write.STALE not in message
    assert [remote_write.STALE in message for message in writer.end(4.0)] == [True]
    assert writer.end(5.0) == []


@pytest.mark.parametrize("message", [b"\x0a\x02\x08\x01", b"\x0a\x05\x0a\x03\x0a\x05x", b"\x0b"])
def test_what_is_no_message_is_refused(message: bytes) -> None:
    """Wrong shapes and cut texts are errors."""
    with pytest.raises(ValueError):  # noqa: PT011 - its own words differ
        remote_write.read(message)
