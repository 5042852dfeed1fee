"""Laws of rows out of log lines: a whole text at once means the same as each line alone."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from podpatterns.formats import combined
from podpatterns.formats.line_rows import json, key_values, matching, within_lines

PIECES = [
    "a", "b", "x*", "a+", "[ab]", "[^a]", "[^ab]*", r"[^]\"]+", r"\s", r"\s*", r"\S+", r"\w+", r"\W", r"\W*", r"\d",
    r"\D+", ".", ".*", ".*?", "^", "$", r"\A", r"\Z", r"\b", "(?:a|b)", "(a)?", r"[\s\S]", r"[\W]", r"[\D]*", "(?=a)",
    r"(?!\s)", r"(?<=\s)", r"(?<!\S)", r"(?=\s)", r"[\t-\r ]", "(?#note[)", "a{1,2}", r"\.", r"\\", "(?i:A)",
    r"[\]\n]", "[]a]",
]  # fmt: skip
regexes = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)
texts = st.lists(st.text('ab xA."]\\1\t\r', max_size=8), max_size=6)


@given(regexes, texts)
@example(r"\s", ["a", "b"])
@example(".*", ["", "a"])
@example("$", ["a"])
def test_a_text_means_the_same_as_its_lines(regex: str, lines: list[str]) -> None:
    """Whatever the expression: one match in a line at most, and none that reaches into the next."""
    try:
        alone = re.compile(f"()()(?:{regex})")
    except re.error:
        assume(condition=False)
    expected = [match.groups("") for line in lines if (match := alone.search(line)) is not None]
    found = within_lines(regex).findall("".join(f"{line}\n" for line in lines))
    assert [row[: alone.groups - 2] for row in found] == [row[2:] for row in expected]


@pytest.mark.parametrize(
    "regex", [r"a\nb", "a\nb", "(?s)a.b", "(?s:a.b)", "(?ix)a b", "(?x:a b)", "a(", "(?P<a>x)(?P<a>y)"]
)
def test_what_no_line_has_is_refused(regex: str) -> None:
    """Line ends, and what is no expression."""
    with pytest.raises((ValueError, re.error)):
        within_lines(regex)


def test_groups_are_fields() -> None:
    """By their names; a group that took no part is empty."""
    form = matching(r"(?i)(?P<a>x+)(?P<b>y)?(\d)?")
    assert form.places == {"a": 0, "b": 1}
    assert [row[:2] for row in form.read("XX7 xx8\nz\nxy\n")] == [("XX", ""), ("x", "y")]
    assert len(matching("x").read("x\ny\n")) == 1


def test_what_cannot_help_is_not_tried() -> None:
    """A repetition before a character that it does not take never goes back; any other may have to."""
    hastened = {'"[^"]*"': '*+"', r"(\d+) x": "++)", r"\S+ ": "++ "}
    for regex, part in hastened.items():
        assert part in within_lines(regex).pattern
    for regex in (r"\S+a", r"\d+ ?1", r"(\d+)* ", ".*x", r"\d+\d", "(?i)[a-z]+A", r"\d+ {0}1"):
        body = within_lines(regex).pattern.removesuffix("[^\\n]*+\\n")
        assert "++" not in body
        assert "*+" not in body


LINE = '::1 - ada [10/Oct/2000:13:55:36 -0700] "GET /a?b HTTP/1.0" 200 2326 "http://x/" "Moz \\"illa\\" [en]"'


def test_access_logs_are_read() -> None:
    """Common and combined, as our parser for single lines reads them; what is no request does not match."""
    names = ("client", "user", "time", "method", "path", "protocol", "status", "bytes", "referer", "agent")
    form = matching(combined.GROUPS)
    assert list(form.places) == list(names)
    (row,) = form.read(f'{LINE}\n- - - [x] "" 400 0 "-" "-"\n')
    parsed = combined.parse(LINE.encode())
    assert parsed is not None
    assert dict(zip(names, row, strict=False)) == {name: str(parsed[name]) for name in names}
    (row,) = form.read('1.2.3.4 - - [t] "POST /x" 404 -\n')
    assert row[:10] == ("1.2.3.4", "-", "t", "POST", "/x", "", "404", "-", "", "")


@pytest.mark.parametrize("names", [(), ("a",), ("b", "a")])
def test_json_and_logfmt(names: tuple[str, ...]) -> None:
    """Fields by name, None where there are none; a line that is nothing else is passed over, and costs no other."""
    values = {"a": 1, "b": "x", "c": [1]}
    row = tuple(values[name] for name in names)
    good = '{"a":1,"b":"x","c":[1]}\n'
    none = tuple(None for _ in names)
    assert json(names).read(good + "\n{}\n") == [row, none]
    assert json(names).read(good + "no\n[1]\n" + good) == [row, row]
    assert key_values(names).read("a=1 b=x\nprose\nq=1\n") == [tuple(str(each) for each in row), none]
