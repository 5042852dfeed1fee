"""Laws of exponential histograms: added up at any scale, and native as Prometheus reads them."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from podpatterns.formats.exponential import Exponential, _spans
from podpatterns.formats.protobuf import fields

buckets = st.dictionaries(st.integers(-400, 400), st.integers(1, 100), max_size=20)
histograms = st.builds(
    Exponential, st.integers(-6, 12), st.just(0.0), st.integers(0, 9), buckets, buckets, st.floats(-1e9, 1e9)
)


@given(histograms, histograms)
def test_sums_lose_nothing(one: Exponential, other: Exponential) -> None:
    """In any order; and where both lie between the same powers of two, so do they together."""
    both = one.plus(other)
    assert both.count == one.count + other.count
    assert both == other.plus(one)
    if both.scale >= 0:
        expected = one.classic()
        for bound, count in other.classic().items():
            expected[bound] = expected.get(bound, 0.0) + count
        assert both.classic() == dict(sorted(expected.items()))


def read(native: bytes) -> tuple[int, dict[int, int], dict[int, int]]:
    """Schema and buckets, as Prometheus reads them."""
    found = list(fields(native))

    def unzigzag(number: int) -> int:
        return number >> 1 ^ -(number & 1)

    def side(span: int, delta: int) -> dict[int, int]:
        counts: dict[int, int] = {}
        (packed,) = [value for number, value in found if number == delta] or [b""]
        steps, shift, current = [], 0, 0
        for byte in packed:  # type: ignore[union-attr]
            current |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                steps.append(unzigzag(current))
                shift = current = 0
        at, count = 0, 0
        for number, value in found:
            if number == span:
                parts = dict(fields(value))  # type: ignore[arg-type]
                at += unzigzag(int(parts.get(1, 0)))
                for _ in range(int(parts.get(2, 0))):
                    count += steps.pop(0)
                    counts[at] = count
                    at += 1
        assert steps == []
        return counts

    schema = next(int(value) for number, value in found if number == 5)
    return unzigzag(schema), side(12, 13), side(9, 10)


@given(histograms)
def test_native_histograms_are_what_prometheus_reads(one: Exponential) -> None:
    """Spans and differences give back every count; a bucket has the number of its upper bound; large scales shrink."""
    native = one.native()
    if one.scale < -4:
        assert native is None
        return
    assert native is not None
    schema, positive, negative = read(native)
    assert schema == min(one.scale, 8)
    shift = one.scale - schema
    for found, own in ((positive, one.positive), (negative, one.negative)):
        expected: dict[int, int] = {}
        for at, count in own.items():
            expected[(at >> shift) + 1] = expected.get((at >> shift) + 1, 0) + count
        assert found == expected


def test_spans() -> None:
    """The first gap is from zero on, the others from the end of the run before."""
    assert list(_spans([(-3, 1), (-2, 1), (4, 1)])) == [(-3, 2), (5, 1)]
    assert list(_spans([])) == []


def test_bounds_that_no_number_has() -> None:
    """What lies beyond all powers of two goes to the outermost ones."""
    one = Exponential(-11, 0.0, 0, {0: 1, 5: 2, -5: 3}, {5: 4}, None)
    counts = one.classic()
    assert sum(counts.values()) == 10
    assert list(counts)[-1] == inf
