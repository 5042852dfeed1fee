"""A client's connection, without a network: it never waits for what has happened already."""

import pytest

from tests.fuzz.wire import Wire

UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize("first", ["client", "upstream"])
def test_a_client_that_was_held_back_on_both_sides_is_read_again(first):
    """Slow in reading, while its upstream was slow in taking the request: the next one is served, in any order."""
    wire = Wire()
    wire.client.data_received(UPLOAD)
    (link,) = wire.origin.links
    link.pause_writing()
    wire.client.pause_writing()
    assert wire.transport.paused
    if first == "upstream":
        link.resume_writing()
    link.data_received(OK)
    link.resume_writing()
    wire.client.resume_writing()
    assert not wire.transport.paused
    wire.client.data_received(UPLOAD)
    link.data_received(OK)
    assert wire.transport.written.count(b"200 OK") == 2


@pytest.mark.parametrize("early", [True, False])
def test_the_last_response_is_not_cut_off_while_it_is_read(early):
    """To a client that takes its time there is no limit as long as it reads; when it stops, the connection is ended."""
    wire = Wire()
    wire.client.data_received(UPLOAD[:-1] if early else UPLOAD.replace(b"Host", b"Connection: close\r\nHost"))
    wire.transport.waiting = 60_000
    (link,) = wire.origin.links
    link.data_received(OK)
    assert wire.transport.ended or wire.transport.closing
    for waiting in (60_000, 30_000, 29_999):
        wire.transport.waiting = waiting
        wire.client.expired()
        assert not wire.transport.aborted
        assert wire.client.due < 10
    wire.client.expired()
    assert wire.transport.aborted


def test_a_client_that_has_everything_is_let_go():
    """At the first look."""
    wire = Wire()
    wire.client.data_received(UPLOAD[:-1])
    wire.origin.links[0].data_received(OK)
    wire.client.expired()
    assert wire.transport.aborted


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (("10.0.0.7", 5), "10.0.0.7"),
        (("::ffff:10.0.0.7", 5, 0, 0), "10.0.0.7"),
        (("2001:db8::7", 5, 0, 0), "2001:db8::7"),
        ("", ""),
        (None, ""),
    ],
)
def test_a_client_has_one_address(peer, expected):
    """However the listening socket spells it; none on a unix socket."""
    wire = Wire()
    wire.transport.get_extra_info = lambda name, default=None: peer if name == "peername" else default
    assert wire.client.address == expected
