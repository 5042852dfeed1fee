"""The probe of gRPC, beside a server that is somebody else's HTTP/2."""

import asyncio
import contextlib

import h2.config
import h2.connection
import h2.events
import pytest

from podpatterns.pod import grpc_health


class Server:
    """Answers Health/Check by what `states` holds: a status, or None for a service that is not known."""

    def __init__(self, states):
        self.states = states
        self.asked = []
        self.left = asyncio.Event()

    async def serve(self, reader, writer):
        try:
            with contextlib.suppress(ConnectionError):
                await self.talk(reader, writer)
        finally:
            writer.transport.abort()
            self.left.set()

    async def talk(self, reader, writer):
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        connection.ping(b"are you?")
        writer.write(connection.data_to_send())
        body, path = b"", ""
        while data := await reader.read(4096):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    path = dict(event.headers)[":path"]
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    self.answer(connection, event.stream_id, path, body)
            writer.write(connection.data_to_send())

    def answer(self, connection, stream, path, body):
        assert (path, body[0], int.from_bytes(body[1:5], "big")) == ("/grpc.health.v1.Health/Check", 0, len(body) - 5)
        rest = body[6:]
        while rest and rest[0] & 128:  # the length, seven bits at a time
            rest = rest[1:]
        service = rest[1:].decode()
        self.asked.append(service)
        state = self.states.get(service)
        head = [(":status", "200"), ("content-type", "application/grpc")]
        if state is None:
            connection.send_headers(stream, [*head, ("grpc-status", "5"), ("grpc-message", "unknown")], end_stream=True)
            return
        connection.send_headers(stream, head)
        message = bytes([0x08, state]) if state else b""
        connection.send_data(stream, b"\0" + len(message).to_bytes(4, "big") + message, pad_length=7)
        connection.send_headers(stream, [("grpc-status", "0")], end_stream=True)


LONG = "shop." * 60 + "Cart"


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("", (True, "SERVING")),
        (LONG, (True, "SERVING")),
        ("down", (False, "NOT_SERVING")),
        ("unsure", (False, "UNKNOWN")),
        ("other", (False, 'no status: the server has no health service (grpc.health.v1) or does not know "other"')),
    ],
    ids=["server", "service", "down", "unknown", "not there"],
)
async def test_only_serving_passes(service, expected):
    """Whole server or one service, with pings and padding in between."""
    answers = Server({"": 1, LONG: 1, "down": 2, "unsure": 0})
    server = await asyncio.start_server(answers.serve, "127.0.0.1", 0)
    async with server, asyncio.timeout(10):
        port = server.sockets[0].getsockname()[1]
        streams = await asyncio.open_connection("127.0.0.1", port)
        assert await grpc_health.check(streams, f"127.0.0.1:{port}", service) == expected
        await answers.left.wait()
    assert answers.asked == [service]


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b""], ids=["http/1.1", "nothing"]
)
async def test_what_is_no_grpc_is_named(said):
    """No hang and no traceback."""

    async def serve(reader, writer):
        await reader.read(100)
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, asyncio.timeout(10):
        streams = await asyncio.open_connection(*server.sockets[0].getsockname())
        with pytest.raises(grpc_health.BadAnswer):
            await grpc_health.check(streams, "x", "")
