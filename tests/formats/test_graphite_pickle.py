"""Laws of pickles that are read without unpickling: lists of names and numbers, and nothing that runs."""

from __future__ import annotations

import contextlib
import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.formats.graphite_pickle import read
from podpatterns.formats.refusal import REASONS, Refused

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
stamps = st.integers(-1, 2**40) | st.floats(0, 1e12)


@given(st.lists(st.tuples(names, st.tuples(stamps, numbers)), max_size=30), st.integers(0, pickle.HIGHEST_PROTOCOL))
@pytest.mark.holds("Graphite pickles")
def test_what_python_pickles_is_read(entries: list[tuple[str, tuple[float, float]]], protocol: int) -> None:
    """In every protocol, tuples or lists, with texts that are remembered; a time before 1970 is now."""
    expected = [(name, float(value), None if stamp < 0 else float(stamp)) for name, (stamp, value) in entries]
    assert list(read(pickle.dumps(entries, protocol))) == expected
    assert list(read(pickle.dumps([[name, list(rest)] for name, rest in entries], protocol))) == expected


def test_long_lists_and_old_pickles() -> None:
    """Thousands of entries, which pickle writes in several steps; and what Python 2 sends: bytes for texts."""
    many = [(f"a.{number}", (1, number)) for number in range(3500)]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert [entry[1] for entry in read(pickle.dumps(many, protocol))] == list(range(3500))  # type: ignore[index]
    old = b"\x80\x02]q\x00U\x03a.bq\x01J\x00\x00\x00\x01G?\xf0\x00\x00\x00\x00\x00\x00\x86q\x02\x86q\x03a."
    assert list(read(old)) == [("a.b", 1.0, 16777216.0)]
    assert list(read(b"(lp0\n(S'a.b'\np1\n(I5\nF1.5\ntp2\ntp3\na.")) == [("a.b", 1.5, 5.0)]


class Evil:
    def __reduce__(self) -> object:
        return print, ("this must not run",)


WRONG = {
    "a call": pickle.dumps([Evil()]),
    "a class": pickle.dumps([int]),
    "a dictionary": pickle.dumps({"a": 1}),
    "a set": pickle.dumps({1}),
    "no list": pickle.dumps(("a", (1, 2))),
    "a persistent id": b"Pa\n.",
    "an extension": b"\x82\x01.",
    "no end": pickle.dumps([("a", (1, 2))])[:-1],
    "nothing": b"",
    "two results": b"]].",
    "a mark as the result": b"(.",
    "appending to a tuple": b")]a.",
    "an unknown memory": b"h\x05.",
    "nonsense": b"\xff\xfe",
    "a list of a list that is below a mark": b"](a.",
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.holds("Graphite pickles")
def test_anything_else_is_refused_as_a_whole(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And is not run."""
    with pytest.raises(Refused) as error:
        list(read(WRONG[name]))
    assert error.value.reason == "bad_pickle"
    assert error.value.reason in REASONS
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (("a", (1, float("nan"))), "not_finite"),
        (("a", (float("inf"), 1)), "not_finite"),
        (("a", (1, "x")), "not_a_number"),
        (("a", (1, 10**400)), "bad_line"),
        (("a", (1, None)), "bad_line"),
        (("a", 1), "bad_line"),
        ((1, (1, 2)), "bad_line"),
        ((b"\xff", (1, 2)), "bad_line"),
        ("ab", "bad_line"),
        (None, "bad_line"),
    ],
)
def test_an_entry_that_is_none_is_refused_alone(entry: object, reason: str) -> None:
    """The others count."""
    found = list(read(pickle.dumps([("a", (1, 2)), entry, (b"b", ("3", "4.5"))], 4)))
    assert found[0] == ("a", 2.0, 1.0)
    assert found[2] == ("b", 4.5, 3.0)
    assert isinstance(found[1], Refused)
    assert found[1].reason == reason


OPCODES = [
    b"(", b"]", b")", b"a", b"e", b"t", b"l", b"\x85", b"\x86", b"\x87", b"K\x01", b"U\x01a", b"q\x00", b"h\x00",
    b"\x94", b"N", b".",
]  # fmt: skip


@given(st.binary(max_size=80) | st.lists(st.sampled_from(OPCODES), max_size=30).map(b"".join))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Nothing but Refused is raised, and whatever is read is names with numbers."""
    with contextlib.suppress(Refused):
        for each in read(data):
            assert isinstance(each, Refused) or isinstance(each[0], str)


def test_time_grows_with_the_length_alone() -> None:
    """Marks upon marks, and a list that holds itself, cost no more than other pickles of their length."""
    deep = b"]" * 20_000 + b"(t" * 80_000 + b"."
    itself = b"]q\x00" + b"h\x00a" * 60_000 + b"."
    began = time.process_time()
    with pytest.raises(Refused):
        list(read(deep))
    assert all(isinstance(each, Refused) for each in read(itself))
    assert time.process_time() - began < 10
