"""Targets: what is put in place of a path keeps what it should, and can never end the first line."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.http1.request import read_request
from podpatterns.ambassador.policies.target import (
    Substitution,
    check_path,
    replace_prefix,
    target_of,
    with_query,
    with_target,
)
from podpatterns.runtime.schema import InvalidField

SENT = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#?"), max_size=20)
PATHS = SENT.map(lambda text: "/" + text)
SEGMENTS = st.lists(SENT.map(lambda text: text.replace("/", "")).filter(bool), max_size=3)


@given(PATHS, PATHS)
def test_a_target_is_put_into_its_place(old, new):
    """Method, version and fields stay; a target that was put in is found there again."""
    head = f"GET {old} HTTP/1.1\r\nHost: a\r\nX: GET /x HTTP/1.1\r\n".encode()
    assert target_of(head) == old.encode()
    changed = with_target(head, new.encode())
    assert target_of(changed) == new.encode()
    assert with_target(changed, old.encode()) == head
    assert read_request(changed + b"\r\n", Limits()).target == new.encode()


@pytest.mark.parametrize(
    ("path", "prefix", "replacement", "expected"),
    [
        ("/api/users", "/api", "/v2", "/v2/users"),
        ("/api/users", "/api/", "/v2/", "/v2/users"),
        ("/api", "/api", "/v2", "/v2"),
        ("/api/", "/api", "/v2", "/v2/"),
        ("/api/users", "/api", "/", "/users"),
        ("/api", "/api", "/", "/"),
        ("/api/", "/api/", "/", "/"),
        ("/users", "/", "/v2", "/v2/users"),
        ("/", "/", "/v2", "/v2/"),
        ("/api//users", "/api", "/v2", "/v2//users"),
    ],
)
def test_prefixes(path, prefix, replacement, expected):
    """Whole segments are replaced; a slash at the end of what is configured makes no difference."""
    assert replace_prefix(path.encode(), prefix.encode(), replacement.encode()) == expected.encode()


@given(SEGMENTS, SEGMENTS, SEGMENTS)
def test_what_follows_a_prefix_stays(prefix, replacement, rest):
    """The segments behind the prefix are the same afterwards, and the way back is the way there."""
    here, there, tail = ("".join(f"/{part}" for part in parts).encode() for parts in (prefix, replacement, rest))
    moved = replace_prefix(here + tail or b"/", here or b"/", there or b"/")
    assert moved.rstrip(b"/") == (there + tail).rstrip(b"/")
    assert moved.startswith(b"/")


@given(PATHS, PATHS, st.one_of(st.just(""), st.text("abc=&%20?", max_size=8).map(lambda text: "?" + text)))
def test_the_query_is_kept(new, old, query):
    """As it was sent, an empty one too; behind a query that the new path brings itself."""
    target = (old + query).encode()
    assert with_query(new.encode(), target) == (new + query).encode()
    both = with_query(new.encode() + b"?own=1", target)
    assert both == f"{new}?own=1{'&' if query[1:] else ''}{query[1:]}".encode()


@pytest.mark.parametrize(
    ("regex", "template", "path", "expected"),
    [
        (r"/users/(\d+)", r"/u/\1", "/users/7", "/u/7"),
        (r"/users/(\d+)", r"/u/\1", "/users/7/x", None),
        (r"/(?P<lang>[a-z]{2})/(.*)", r"/\2?lang=\g<lang>", "/de/a/b", "/a/b?lang=de"),
        (r"/(a)|/b", r"/x\1", "/b", "/x"),
        (r"/.*", r"/\0", "/a", "//a"),
        (r"/ab", "/c", "/abc", None),
        (r"/v(\d)", r"/v\g<1>0", "/v2", "/v20"),
        (r"/a(.)c", r"/\1\1\1", "/abc", "/bbb"),
    ],
)
def test_substitutions(regex, template, path, expected):
    """The expression must match the whole path; groups by number and name, empty where they had no part."""
    assert Substitution(regex, template, "to")(path.encode()) == (None if expected is None else expected.encode())


TEMPLATES = st.lists(st.sampled_from([r"\1", r"\2", r"\g<all>", "/", "a", "?x=", "%20", "-"]), max_size=8)


@given(TEMPLATES, PATHS)
def test_a_substitution_cannot_end_the_line(parts, path):
    """Whatever a client sends, and whatever template was accepted, the result is one target."""
    substitution = Substitution(r"(?P<all>/(.?).*)", "/" + "".join(parts), "to")
    new = substitution(path.encode())
    assert re.fullmatch(rb"/[\x21\x22\x24-\x7e]*", new)
    assert read_request(b"GET " + new + b" HTTP/1.1\r\nHost: a\r\n\r\n", Limits()).target == new


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (r"/\2", 'no group "2"'),
        (r"/\g<other>", 'no group "other"'),
        (r"/\n", "a backslash is followed by a group"),
        ("/a\\", "a backslash is followed by a group"),
        ("/a b", 'did you mean "/a%20b"'),
        ("/a\r\nX: y", "not a path as it is sent"),
        ("/a#b", "not a path as it is sent"),
        ("users", 'did you mean "/users"'),
        (r"\1", "must start with"),
        (r"\1/a", "not with a group"),
    ],
)
def test_templates_are_checked_before_they_are_used(template, message):
    """A template that could make a target malformed, or that names no group, is a mistake in the configuration."""
    with pytest.raises(InvalidField, match=re.escape(message)):
        Substitution(r"(/.*)", template, "to")


@pytest.mark.parametrize(
    ("path", "query", "message"),
    [
        ("a", False, 'did you mean "/a"'),
        ("/a?b", False, 'did you mean "/a%3Fb"'),
        ("/größe", False, 'did you mean "/gr%C3%B6%C3%9Fe"'),
        ("/a\n", True, 'did you mean "/a%0A"'),
    ],
)
def test_paths_are_as_they_are_sent(path, query, message):
    """Nothing is encoded silently; the mistake shows how it would be written."""
    with pytest.raises(InvalidField, match=re.escape(message)):
        check_path(path, "path", query=query)
    check_path("/a%20b", "path")
    check_path("/a?b", "path", query=True)
