"""The law of writing logfmt: what is written is read back."""

from hypothesis import given
from hypothesis import strategies as st

from podpatterns.formats import logfmt

KEYS = st.text(st.characters(codec="utf-8", exclude_characters='="\x7f', categories=["L", "N", "P", "S"]), min_size=1)
TEXTS = st.text(st.characters(codec="utf-8"))


@given(st.lists(st.dictionaries(KEYS, TEXTS, min_size=1, max_size=5), max_size=4))
def test_texts_come_back(records):
    """Each on a line of its own, whatever is in them."""
    lines = logfmt.render(records).split(b"\n")
    assert lines.pop() == b""
    assert [logfmt.parse(line) for line in lines] == records


def test_what_is_no_text():
    """Numbers and truth as they are, what is nested as JSON, and keys made fit."""
    record = {"n": 1.5, "t": True, "none": None, "o": {"x": [1]}, 'a b="c"': "x"}
    assert logfmt.render([record]) == b'n=1.5 t=true none=null o="{\\"x\\":[1]}" a_b__c_=x\n'
