"""The same bytes to us, to HAProxy and to nginx: what both of them refuse we refuse, and nobody reads another request.

Each proxy has several lanes, so that rows are tried at the same time: a socket, and behind it an origin of its own,
which reads with the oracle of `tests/fuzz` what arrives there.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from tests.fuzz import oracle
from tests.fuzz.answers import ANSWERS
from tests.fuzz.payloads import PASSED, PAYLOADS

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

LANES = 10
ROWS = {b"/answer/%d" % number: row for number, row in enumerate(ANSWERS)}
"""Rows of answers, by the path that asks for them."""

END = b"GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
"""Sent behind each payload: whoever has read all of it as requests closes the connection then."""

LAXER = {}
"""Rows of which we forward more than both peers do, each with the reason."""

OTHERWISE = {}
"""Rows of which a peer makes another request than we do, each with the reason."""


ANSWERED_LAXER = {
    "space before a colon": "RFC 9112 5.1 asks a proxy to remove it from a response; they answer 502",
}
"""Rows of answers of which we pass on more than both peers do, each with the reason."""


class Origin:
    """Reads what a proxy sends, and answers what is whole: with a row of ANSWERS and a close if its path names one."""

    def __init__(self):
        self.connections = []

    async def start(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        sent = bytearray()
        self.connections.append(sent)
        answered = 0
        try:
            while data := await reader.read(65536):
                sent += data
                messages, error = oracle.requests(bytes(sent))
                whole = [message for message in messages if message.complete]
                for message in whole[answered:]:
                    if (row := ROWS.get(message.first[1])) is not None:
                        writer.write(ANSWERS[row].data)
                        await writer.drain()
                        return
                    body = b"" if message.first[0] == b"HEAD" else b"ok"
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + body)
                answered = len(whole)
                if error:
                    break
        except ConnectionError:
            pass
        finally:
            writer.close()

    def take(self):
        """The whole requests since the last call, in order, and how many connections had something else in them."""
        connections, self.connections = self.connections, []
        read = [oracle.requests(bytes(sent)) for sent in connections]
        whole = [message for messages, _ in read for message in messages if message.complete]
        return Forwarded(
            [(each.first[0], path(each.first[1]), each.payload) for each in whole],
            [str(error) for _, error in read if error is not None],
        )


@dataclass
class Forwarded:
    """What a proxy has made of one row: method, path and payload of each request; what the oracle could not read."""

    requests: list = field(default_factory=list)
    flaws: list = field(default_factory=list)
    answer: bytes = b""
    """What the client got."""
    reset: bool = False
    """True if that ended with a reset."""


def path(target):
    """Without the host of the absolute form, which HAProxy passes on."""
    if target.startswith(b"http://"):
        return b"/" + target[7:].partition(b"/")[2]
    return target


def haproxy(folder, lanes):
    file = folder / "haproxy.cfg"
    file.write_text(
        "defaults\n  mode http\n  http-reuse never\n  timeout connect 5s\n  timeout client 1s\n  timeout server 1s\n"
        "  timeout http-request 1s\n  timeout http-keep-alive 1s\n"
        + "".join(
            f"listen lane{origin}\n  bind unix@{place}\n  server origin 127.0.0.1:{origin}\n" for place, origin in lanes
        )
    )
    return ["haproxy", "-db", "-f", str(file)]


def nginx(folder, lanes):
    file = folder / "nginx.conf"
    places = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    servers = "".join(
        f"server {{ listen unix:{place}; location / {{ proxy_pass http://127.0.0.1:{origin}; }} }}\n"
        for place, origin in lanes
    )
    file.write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {places}\n"
        "client_header_timeout 1s; client_body_timeout 1s; keepalive_timeout 1s; proxy_read_timeout 1s;\n"
        'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;\n'
        f"{servers} }}\n"
    )
    return ["nginx", "-p", str(folder), "-c", str(file)]


def ambassador(folder, lanes):
    file = folder / "ambassador.yaml"
    listeners = [
        {
            "listen": f"unix:{place}", "head_timeout": "1s", "idle": "1s",
            "routes": [{"to": f"o{origin}", "retry": {"attempts": 0}}],
        }
        for place, origin in lanes
    ]  # fmt: skip
    upstreams = {
        f"o{origin}": {"addresses": [f"127.0.0.1:{origin}"], "keep": "0s", "idle": "1s", "first_byte": "1s"}
        for _, origin in lanes
    }
    config = {"ambassador": {"listeners": listeners, "upstreams": upstreams}, "runtime": {"admin": "off"}}
    file.write_text(json.dumps(config))
    return [sys.executable, "-m", "podpatterns", "run", str(file)]


@asynccontextmanager
async def proxy(command, folder):
    """One of them, with its origins: for each lane a function that sends bytes and says what was forwarded of them."""
    folder.mkdir()
    places = [folder / f"{lane}.sock" for lane in range(LANES)]  # not ports: nobody else can take them first
    origins = [Origin() for _ in places]
    for origin in origins:
        await origin.start()
    lanes = list(zip(places, (origin.port for origin in origins), strict=True))
    child = await asyncio.create_subprocess_exec(
        *command(folder, lanes), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(30):
            for place in places:
                while not await reachable(place):  # noqa: ASYNC110 - they do not say when they are ready
                    await asyncio.sleep(0.05)
        yield [asker(place, origin) for place, origin in zip(places, origins, strict=True)]
    finally:
        child.terminate()
        await child.wait()
        for origin in origins:
            origin.server.close()


def asker(place, origin):
    async def ask(data):
        reader, writer = await asyncio.open_unix_connection(place)
        answer, reset = b"", False
        try:
            async with asyncio.timeout(20):
                writer.write(data)
                while piece := await reader.read(65536):
                    answer += piece
        except ConnectionError:
            reset = True
        finally:
            writer.close()
        taken = origin.take()
        taken.answer, taken.reset = answer, reset
        return taken

    return ask


async def reachable(place):
    try:
        _, writer = await asyncio.open_unix_connection(place)
    except OSError:
        return False
    writer.close()
    return True


async def compared(folder, table):
    """What each of the three has made of each row: of the client's bytes, by their names."""
    commands = {"ours": ambassador, "haproxy": haproxy, "nginx": nginx}
    got = {name: {} for name in commands}
    async with AsyncExitStack() as running:
        lanes = {
            name: await running.enter_async_context(proxy(command, folder / name)) for name, command in commands.items()
        }

        async def work(ask, name, rows):
            for row in rows:
                got[name][row] = await ask(table[row])

        rows = list(table)
        async with asyncio.TaskGroup() as tasks:
            for name in commands:
                for lane in range(LANES):
                    tasks.create_task(work(lanes[name][lane], name, rows[lane::LANES]))
    return got


@pytest.mark.holds("peers")
async def test_nobody_reads_another_request(tmp_path):
    """Of each row we forward no more than one of the peers does, and what two forward is the same request."""
    table = {row: payload.data + END for row, payload in PAYLOADS.items()}
    got = await compared(tmp_path, table)
    ours, laxer, otherwise = got.pop("ours"), {}, {}
    for row in PAYLOADS:
        peers = {name: each[row].requests for name, each in got.items()}
        assert not ours[row].flaws, row
        if len(ours[row].requests) > max(map(len, peers.values())):
            laxer[row] = (ours[row].requests, peers)
        for name, theirs in peers.items():
            if any(mine != other for mine, other in zip(ours[row].requests, theirs, strict=False)):
                otherwise[f"{name}: {row}"] = (ours[row].requests, theirs)
    assert laxer.keys() == LAXER.keys(), laxer
    assert otherwise.keys() == OTHERWISE.keys(), otherwise
    # The comparison is about something: everybody forwards the rows that are well-formed, and refuses many others.
    for name, each in {"ours": ours, **got}.items():
        assert sum(bool(each[row].requests) for row in PASSED) >= len(PASSED) * 0.7, name
        assert sum(not each[row].requests for row in PAYLOADS) >= len(PAYLOADS) * 0.4, name


def passed_on(got):
    """The payload of a response that came from the origin, complete by its own framing; None: there was none."""
    answers, error = oracle.responses(got.answer, [b"GET"], closed=not got.reset)
    final = next((each for each in answers if not each.first[1].startswith(b"1")), None)
    if final is None or error is not None or not final.complete or final.first[1] == b"502":
        return None
    return final.payload


@pytest.mark.holds("peers")
async def test_nobody_reads_another_response(tmp_path):
    """We pass on no answer that both peers hold back or break off, and what two pass on has the same payload."""
    table = {row: b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" for path, row in ROWS.items()}
    got = await compared(tmp_path, table)
    ours, laxer, otherwise = got.pop("ours"), {}, {}
    for row in ANSWERS:
        mine, peers = passed_on(ours[row]), {name: passed_on(each[row]) for name, each in got.items()}
        if mine is not None and all(each is None for each in peers.values()):
            laxer[row] = (mine, got)
        for name, each in peers.items():
            if mine is not None and each is not None and mine != each:
                otherwise[f"{name}: {row}"] = (mine, each)
    assert laxer.keys() == ANSWERED_LAXER.keys(), laxer
    assert not otherwise
    assert sum(passed_on(each) is not None for each in ours.values()) > 10
    assert sum(passed_on(each) is None for each in ours.values()) > 40
