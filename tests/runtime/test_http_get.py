"""Laws of the small client: what an answer holds, however it is framed, and no more than was asked for."""

import asyncio

import pytest

from podpatterns.runtime.http_get import BadAnswer, get_url
from podpatterns.runtime.units import Url


async def asked(answer, **options):
    """What `get_url` makes of an answer that comes in pieces of seven bytes."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        for start in range(0, len(answer), 7):
            writer.write(answer[start : start + 7])
            await asyncio.sleep(0)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        return await get_url(Url(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"), body=True, **options)


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 12\r\n\r\nhello, world and more",
        OK + b"\r\nhello, world",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\n\r\n",
    ],
    ids=["length", "end", "chunks"],
)
async def test_a_body_is_the_same_in_every_framing(answer):
    """By its length, by the end of the connection, in chunks; and never longer than the limit."""
    assert await asked(answer) == (200, b"hello, world")
    assert await asked(answer, limit=5) == (200, b"hello")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        OK,
        OK + b"Content-Type: text/pl",
        OK + b"Content-Length: 12\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nhello\r\n",
    ],
)
async def test_an_answer_that_is_not_whole_is_none(answer):
    """A torn body is not taken for a short one."""
    with pytest.raises(BadAnswer):
        await asked(answer)
