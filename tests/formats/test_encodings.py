"""Encodings: every codec for text that Python has is read line by line, or refused with its reason."""

from __future__ import annotations

import codecs
import encodings
import pkgutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.formats.encodings import Encoding
from podpatterns.formats.lines import clean, line_offsets

REFUSED = {"idna", "punycode", "undefined", "unicode_escape"}
"""Notations for one text, or none: what is a newline in them depends on the whole."""
ELSEWHERE = {"mbcs", "oem"}
"""Only on Windows."""
SAMPLE = "Aé€あ한中яשا~¥ñ\U0001f600"


def codecs_for_text() -> list[str]:
    names = {module.name for module in pkgutil.iter_modules(encodings.__path__)} - {"aliases"} - ELSEWHERE
    return sorted(name for name in names if codecs.lookup(name)._is_text_encoding)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [name for name in codecs_for_text() if name not in REFUSED])
def test_every_codec_is_read_line_by_line(name: str) -> None:
    """What the codec has written comes out as UTF-8, line by line, as many as went in, each at its position."""
    text = "".join(char for char in SAMPLE if encodable(char, name))
    written = f"{text}\nplain\r\n\n{text}{text}"
    encoding = Encoding.of(name).told_by(written.encode(name))
    raw = written.encode(name)
    mark = encoding.mark(raw)
    lines = clean(raw[mark:], mark, limit=1000, encoding=encoding)
    assert lines.text.decode() == f"{text}\nplain\n\n{text}{text}"
    assert (lines.truncated, lines.replaced) == (0, 0)
    pieces = encoding.split(raw[mark:])
    positions = [mark + sum(len(each) + len(encoding.newline) for each in pieces[:at]) for at in range(4)]
    assert (lines.offsets or line_offsets(lines.text.split(b"\n"), mark)) == positions
    for piece, line in zip(pieces, written.split("\n"), strict=True):
        assert encoding.decode(piece) == line


def encodable(char: str, name: str) -> bool:
    try:
        return char.encode(name).decode(name) == char
    except UnicodeError:
        return False


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_has_no_lines_is_refused(name: str) -> None:
    """With the reason; what turns bytes into bytes is no encoding at all."""
    with pytest.raises(ValueError, match="a newline is no byte of its own"):
        Encoding.of(name)
    with pytest.raises(LookupError):
        Encoding.of("hex")
    with pytest.raises(LookupError):
        Encoding.of("klingon")


@pytest.mark.parametrize("name", ["utf-16", "utf-16-be", "utf-32", "utf-7", "iso2022_jp", "iso2022_kr", "hz", "gb18030",
                                  "cp037", "raw_unicode_escape", "ascii", "shift_jis", "big5"])  # fmt: skip
@given(data=st.binary(max_size=60))
def test_whatever_the_bytes_a_line_stays_a_line(name: str, data: bytes) -> None:
    """Bytes that make no sense neither add a line nor take one away, and the rest is text."""
    encoding = Encoding.of(name)
    lines = clean(data, 0, limit=20, encoding=encoding)
    lines.text.decode()
    assert lines.text.count(b"\n") + 1 == len(encoding.split(data))
    assert encoding.find(data) == (len(encoding.split(data)[0]) if len(encoding.split(data)) > 1 else -1)
    last = encoding.rfind(data)
    assert last == (len(data) - len(encoding.split(data)[-1]) - len(encoding.newline) if last >= 0 else -1)
    assert 0 <= encoding.whole(data) <= len(data)


def test_a_newline_between_two_characters_is_none() -> None:
    """U+0A00 behind U+0100 looks like a newline, half of each: units are counted from the start."""
    for name in ("utf-16-le", "utf-16-be"):
        encoding = Encoding.of(name)
        for text in ("\u0a00\u0100\u0a0a", "\u0100\u0a00", "\u0a0a\u0a0a"):
            data = text.encode(name)
            assert (encoding.find(data), encoding.rfind(data)) == (-1, -1)
            assert encoding.find(data + encoding.newline) == len(data) == encoding.rfind(data + encoding.newline)
