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
    with contextlib.suppress(ValueError):
        remote_write.read(data, 2)


names = st.from_regex(r"[a-z_:][a-z0-9_:]{0,6}", fullmatch=True)
labels = st.dictionaries(
    st.from_regex(r"[A-Za-z][a-zA-Z0-9_]{0,6}", fullmatch=True),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
family_samples = st.lists(st.tuples(labels, st.floats(allow_nan=False)), min_size=1, max_size=5)


@given(st.dictionaries(names, family_samples, max_size=4), st.integers(-(10**9), 4 * 10**9))
@pytest.mark.holds("remote write 1.0")
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
    second = remote_write.Writer({}, samples=3, version=2).write(families, float(now))
    found = [series for message in second for series in remote_write.read(message, 2)]
    assert [(series.labels, series.samples) for series in found] == [(each.labels, each.samples) for each in expected]
    assert {series.kind for series in found} <= {"gauge"}
    assert [remote_write.downgraded(message) for message in second] == messages


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


@pytest.mark.holds("remote write 1.0")
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


@pytest.mark.holds("remote write 2.0")
def test_version_two_is_what_its_definition_says() -> None:
    """Protobuf's own library reads it by the published definition: symbols once, references, type, help and unit."""
    import google.protobuf.descriptor_pb2 as descriptors
    from google.protobuf import descriptor_pool, message_factory

    file = descriptors.FileDescriptorProto(name="v2.proto", package="io.prometheus.write.v2", syntax="proto3")

    def message(name: str, *fields: tuple[str, int, int, bool, str]) -> None:
        found = file.message_type.add(name=name)
        for field, number, kind, many, of in fields:
            found.field.add(name=field, number=number, type=kind, label=3 if many else 1, type_name=of or None)  # type: ignore[arg-type]

    double, int64, uint32, string, inner = 1, 3, 13, 9, 11
    package = ".io.prometheus.write.v2."
    message("Request", ("symbols", 4, string, True, ""), ("timeseries", 5, inner, True, f"{package}TimeSeries"))
    message(
        "TimeSeries",
        ("labels_refs", 1, uint32, True, ""),
        ("samples", 2, inner, True, f"{package}Sample"),
        ("metadata", 5, inner, False, f"{package}Metadata"),
    )
    message("Sample", ("value", 1, double, False, ""), ("timestamp", 2, int64, False, ""))
    message(
        "Metadata",
        ("type", 1, int64, False, ""),
        ("help_ref", 3, uint32, False, ""),
        ("unit_ref", 4, uint32, False, ""),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)  # type: ignore[no-untyped-call]
    request = message_factory.GetMessageClass(pool.FindMessageTypeByName("io.prometheus.write.v2.Request"))()
    family = Family("t_seconds", "histogram", "Times.", "seconds")
    family.add(3.0, [("le", "+Inf"), ("a", "b")], "_bucket")
    family.add(3.0, [("a", "b")], "_count")
    (encoded,) = remote_write.Writer({"job": "x"}, version=2).write([family], 12.345)
    request.ParseFromString(encoded)
    symbols = list(request.symbols)
    assert symbols[0] == ""
    assert len(set(symbols)) == len(symbols)
    first, second = request.timeseries
    assert [symbols[ref] for ref in first.labels_refs] == [
        "__name__", "t_seconds_bucket", "a", "b", "job", "x", "le", "+Inf"
    ]  # fmt: skip
    assert [symbols[ref] for ref in second.labels_refs] == ["__name__", "t_seconds_count", "a", "b", "job", "x"]
    assert [(sample.value, sample.timestamp) for sample in first.samples] == [(3.0, 12345)]
    about = second.metadata
    assert (about.type, symbols[about.help_ref], symbols[about.unit_ref]) == (3, "Times.", "seconds")


@pytest.mark.parametrize("message", [b"\x0a\x02\x08\x01", b"\x0a\x05\x0a\x03\x0a\x05x", b"\x0b"])
def test_what_is_no_message_is_refused(message: bytes) -> None:
    """Wrong shapes and cut texts are errors."""
    with pytest.raises(ValueError):  # noqa: PT011 - its own words differ
        remote_write.read(message)


@pytest.mark.parametrize("message", [b"\x2a\x00", b"\x22\x00\x2a\x03\x0a\x01\x07", b"\x22\x00\x2a\x03\x0a\x01\x00"])
def test_what_is_no_message_of_version_two_is_refused(message: bytes) -> None:
    """No symbols, a symbol that is not there, a name without a value."""
    with pytest.raises(ValueError):  # noqa: PT011 - its own words differ
        remote_write.read(message, 2)
