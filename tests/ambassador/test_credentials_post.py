"""The client of the token endpoint, on real sockets: it reads as strictly as the proxy does."""

import asyncio

import pytest

from podpatterns.ambassador.post import post
from podpatterns.formats.http1 import Refused
from podpatterns.runtime.units import Url

HEAD = b"HTTP/1.1 200 OK\r\nRetry-After:  7 \r\n"


async def posted(server, largest=1000):
    async with asyncio.timeout(10):
        return await post(Url(f"http://127.0.0.1:{server.port}/a?b=1"), {"X": "1"}, b"body", tls=None, largest=largest)


def saying(answer, size):
    """Takes the request whole, and answers in pieces of this size."""

    async def handle(server, peer):
        await server.head(peer)
        assert await peer.exactly(4) == b"body"
        for at in range(0, len(answer), size):
            await peer.send(answer[at : at + size])
            await asyncio.sleep(0)

    return handle


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"Content-Length: 5\r\n\r\ntoken",
        HEAD + b"Content-Length: 5\r\n\r\ntokenand what nobody asked for",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nto\r\n3\r\nken\r\n0\r\n\r\n",
        HEAD + b"\r\ntoken",
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
        + HEAD
        + b"Content-Length: 5\r\n\r\ntoken",
    ],
    ids=["length", "more", "chunked", "until close", "interim"],
)
async def test_an_answer_however_it_is_framed_and_cut(upstream, answer, size):
    """Status, fields and body are the same; so is what was asked."""
    server = await upstream(saying(answer, size))
    reply = await posted(server)
    assert (reply.status, reply.body, reply.field(b"retry-after"), reply.field(b"x")) == (200, b"token", "7", None)
    assert "token" not in repr(reply)
    assert server.heads == [
        b"POST /a?b=1 HTTP/1.1\r\nX: 1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 4\r\nUser-Agent: podpatterns\r\n"
        b"Connection: close\r\n\r\n" % server.port
    ]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", ConnectionError),
        (HEAD, ConnectionError),
        (HEAD + b"Content-Length: 5\r\n\r\ntok", ConnectionError),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\ntoken\r\n", ConnectionError),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\ntoken", Refused),
        (HEAD + b"Content-Length: 1001\r\n\r\n" + b"a" * 1001, Refused),
        (b"SSH-2.0-OpenSSH\r\n", Refused),
    ],
)
async def test_an_answer_that_is_none(upstream, answer, error):
    """Is never taken for one."""
    server = await upstream(saying(answer, 1000))
    with pytest.raises(error):
        await posted(server)
