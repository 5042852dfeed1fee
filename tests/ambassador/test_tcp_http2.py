"""HTTP/2 by prior knowledge through a TCP listener, between a client and a server of others: it is bytes to us."""

import asyncio
import shutil

import h2.config
import h2.connection
import h2.events
import pytest

from podpatterns import Ambassador
from tests.ambassador.test_tcp import tcp

BODY = bytes(range(256)) * 2000
"""Larger than the window of a stream and of a connection."""


class Peer:
    """One side of a connection that speaks HTTP/2."""

    def __init__(self, reader, writer, *, client):
        self.reader, self.writer = reader, writer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client))
        self.unsent = {}
        self.got = {}

    def begin(self):
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        for stream in list(self.unsent):
            while data := self.unsent[stream]:
                room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
                if not room:
                    break
                self.h2.send_data(stream, data[:room])
                self.unsent[stream] = data[room:]
            else:
                del self.unsent[stream]
                self.h2.end_stream(stream)
        self.writer.write(self.h2.data_to_send())

    def send(self, stream, fields, body):
        self.h2.send_headers(stream, fields)
        self.unsent[stream] = body
        self.flush()

    async def events(self):
        """Until the other side has hung up."""
        while data := await self.reader.read(65536):
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    self.got[event.stream_id] = self.got.get(event.stream_id, b"") + event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                yield event
            self.flush()


async def echo(server, peer):
    """Send every request's body back."""
    far = Peer(peer.reader, peer.writer, client=False)
    far.begin()
    async for event in far.events():
        if isinstance(event, h2.events.StreamEnded):
            body = far.got.pop(event.stream_id, b"nothing")
            far.send(event.stream_id, [(":status", "200"), ("content-length", str(len(body)))], body)


async def test_streams_at_the_same_time(upstream):
    """Ten requests with large bodies on one connection: every one comes back whole."""
    async with Ambassador(tcp({"stable": await upstream(echo)})) as proxy:
        client = Peer(*await asyncio.open_connection("127.0.0.1", proxy.port()), client=True)
        client.begin()
        fields = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "a")]
        streams = [client.h2.get_next_available_stream_id() + 2 * index for index in range(10)]
        for stream in streams:
            client.send(stream, fields, BODY)
        ended = set()
        async with asyncio.timeout(20):
            async for event in client.events():
                if isinstance(event, h2.events.StreamEnded):
                    ended.add(event.stream_id)
                    if len(ended) == len(streams):
                        break
        assert [client.got[stream] == BODY for stream in streams] == [True] * 10
        client.writer.transport.abort()


@pytest.mark.e2e
async def test_curl(upstream):
    """`curl --http2-prior-knowledge` gets its answer."""
    async with Ambassador(tcp({"stable": await upstream(echo)})) as proxy:
        curl = await asyncio.create_subprocess_exec(
            str(shutil.which("curl")), "--silent", "--fail", "--http2-prior-knowledge",
            "--write-out", " %{http_version}", f"http://127.0.0.1:{proxy.port()}/", stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(20):
            output, _ = await curl.communicate()
    assert (curl.returncode, output) == (0, b"nothing 2")
