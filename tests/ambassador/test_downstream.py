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
