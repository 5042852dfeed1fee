"""Several processes behind one address and one admin endpoint: they add up, are replaced, and lose nothing."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
from math import inf

import pytest

from podpatterns import Ambassador
from podpatterns.ambassador.workers import post
from podpatterns.ambassador.workers.channel import Channel, Report
from podpatterns.ambassador.workers.events import WorkerEvents
from podpatterns.ambassador.workers.figures import Figures, merged, total
from podpatterns.errors import StartError
from podpatterns.runtime.config import loads
from podpatterns.runtime.telemetry import Telemetry
from tests.ambassador.load import GET, Crowd

PROCESS = True
YAML = """
ambassador:
  workers: 2
  listeners:
  - {{name: main, listen: {listen}, routes: [{{name: main, split: {{stable: 90, test: 10}}}}]}}
  {more}
  upstreams: {{stable: 127.0.0.1:{stable}, test: 127.0.0.1:{test}}}
runtime: {{admin: 127.0.0.1:{admin}, reload: 50ms, grace: {grace}, log_format: json}}
"""


class Running:
    """The process, its log, and its admin endpoint."""

    def __init__(self, file, ports, admin):
        self.file, self.ports, self.admin = file, ports, admin
        self.log = []
        self.heard = asyncio.Condition()

    def write(self, *, listen=None, more="", grace="10s"):
        self.port = self.ports[0]
        self.file.write_text(
            YAML.format(
                listen=listen or f"127.0.0.1:{self.port}", more=more, admin=self.admin, grace=grace, **self.servers
            )
        )

    async def start(self):
        self.child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "podpatterns", "run", str(self.file), stderr=asyncio.subprocess.PIPE
        )
        self.reading = asyncio.create_task(self._read())

    async def _read(self):
        async for line in self.child.stderr:
            async with self.heard:
                self.log.append(json.loads(line) if line.startswith(b"{") else {"event": line.decode()})
                self.heard.notify_all()
        async with self.heard:
            self.log.append({"event": "end"})
            self.heard.notify_all()

    def said(self, event, **fields):
        return [each for each in self.log if each["event"] == event and fields.items() <= each.items()]

    async def says(self, event, count=1, **fields):
        async with asyncio.timeout(20), self.heard:
            await self.heard.wait_for(lambda: len(self.said(event, **fields)) >= count or self.said("end"))
        assert len(self.said(event, **fields)) >= count, self.log
        return self.said(event, **fields)[-1]

    async def ready(self):
        await self.says("runtime.service.started", service="ambassador", count=3)  # two workers and the parent

    async def ask_admin(self, path, body=None):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.admin)
        data = json.dumps(body).encode() if body is not None else b""
        method = "GET" if body is None else "PUT"
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        writer.write(head.encode() + data)
        async with asyncio.timeout(20):
            answer = await reader.read()
        writer.close()
        assert b" 200 " in answer.partition(b"\r\n")[0], answer
        return answer.partition(b"\r\n\r\n")[2].decode()

    async def state(self):
        return json.loads(await self.ask_admin("/ambassador"))

    async def requests(self):
        return {
            name: found["requests"]
            for name, found in (await self.state())["listeners"]["main"]["routes"][0]["versions"].items()
        }

    @property
    def workers(self):
        """Process ids by worker, the last one of each."""
        return {each["worker"]: each["pid"] for each in self.said("ambassador.worker.started")}

    async def end(self, number=signal.SIGTERM):
        self.child.send_signal(number)
        async with asyncio.timeout(20):
            status = await self.child.wait()
            await self.reading
        return status


@pytest.fixture
async def process(upstream, tmp_path, unused_tcp_port_factory):
    """A process that is written but not started."""
    servers = {
        name: await upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n" + name.encode().ljust(6))
        for name in ("stable", "test")
    }
    running = Running(
        tmp_path / "ambassador.yaml", [unused_tcp_port_factory() for _ in range(3)], unused_tcp_port_factory()
    )
    running.servers = {name: server.port for name, server in servers.items()}
    running.write()
    yield running
    if running.child.returncode is None:
        await running.end()
    for pid in [each["pid"] for each in running.said("ambassador.worker.started")]:
        async with asyncio.timeout(10):
            while alive(pid):  # noqa: ASYNC110 - not a child of ours
                await asyncio.sleep(0.01)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_they_look_like_one(process):
    """Both serve; the admin endpoint, the metrics and the closing summary show the sum; SIGTERM under load: exit 0."""
    await process.start()
    await process.ready()
    crowd = Crowd(process.port, each=16)
    await crowd.more(400)
    metrics = await process.ask_admin("/metrics")
    found = {
        version: float(value)
        for version, value in re.findall(r'ambassador_requests_total{.*status="2xx",version="(\w+)"} (\S+)', metrics)
    }
    assert found["stable"] > found["test"] > 0
    assert "podpatterns_ambassador_workers 2.0" in metrics
    assert re.search(r'podpatterns_ambassador_weight{.*version="test"} 10.0', metrics)
    assert (await process.state())["upstreams"]["stable"]["connections"] >= 2
    assert await process.end() == 0
    await crowd.gone()
    assert crowd.failures == []
    closed = process.said("ambassador.listener.closed")
    assert {each["worker"] for each in closed} == {0, 1}
    assert all(each["connections"] for each in closed), "both have had clients"


async def test_the_sum_is_exact(process):
    """Every request that was answered is counted once, in whichever process."""
    await process.start()
    await process.ready()
    crowd = Crowd(process.port, each=8)
    await crowd.more(300)
    await crowd.leave()
    assert sum((await process.requests()).values()) == crowd.answers
    status = json.loads(await process.ask_admin("/status"))["patterns"]["ambassador"]
    assert status["facts"]["requests"] == crowd.answers
    assert [check["name"] for check in status["checks"]] == ["no request dropped", "share of stable", "share of test"]
    assert all(check["ok"] for check in status["checks"])


async def test_a_worker_that_dies_is_replaced(process):
    """Weights that were changed hold for the new one, counters never go down, and new connections are served."""
    await process.start()
    await process.ready()
    crowd = Crowd(process.port)
    await crowd.more(100)
    await crowd.leave()
    await process.ask_admin("/ambassador/weights", {"weights": {"stable": 0, "test": 1}})
    before = await process.requests()
    old = dict(process.workers)
    os.kill(old[0], signal.SIGKILL)
    assert (await process.says("ambassador.worker.died", worker=0))["reason"] == "SIGKILL"
    await process.says("ambassador.worker.started", worker=0, count=2)
    assert process.workers[0] != old[0]
    assert process.workers[1] == old[1]
    assert await process.requests() == before
    crowd = Crowd(process.port, each=16)
    await crowd.more(200)
    await crowd.leave()
    assert crowd.failures == []
    assert {answer for client in crowd.clients for answer in client.answers} == {"test"}
    after = await process.requests()
    assert after == {"stable": before["stable"], "test": before["test"] + crowd.answers}
    assert 'worker_deaths_total{reason="SIGKILL"} 1.0' in await process.ask_admin("/metrics")


async def test_a_worker_that_is_told_to_end_drains(process):
    """SIGTERM to one of them costs no request: what it has is finished, its queue waits for the one that follows."""
    await process.start()
    await process.ready()
    crowd = Crowd(process.port, each=8)
    for turn in range(2, 4):
        await crowd.more(100)
        os.kill(process.workers[1], signal.SIGTERM)
        await process.says("ambassador.worker.started", worker=1, count=turn)
    await crowd.more(100)
    await crowd.leave()
    assert crowd.failures == []
    assert sum((await process.requests()).values()) == crowd.answers


async def test_reload(process):
    """All of them or none: listeners come and go in every worker, and an address that is taken changes nothing."""
    await process.start()
    await process.ready()
    crowd = Crowd(process.port)
    one, two = process.ports[1:]
    process.write(more=f"- {{name: more, listen: 127.0.0.1:{one}, routes: [{{to: test}}]}}")
    await process.says("runtime.config.reloaded")
    others = Crowd(one, each=8)
    await others.more(50)
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", two)
    process.write(more=f"- {{name: more, listen: 127.0.0.1:{two}, routes: [{{to: stable}}]}}")
    assert "already in use" in (await process.says("runtime.config.not_applied"))["error"]
    await others.more(50)
    taken.close()
    process.write()
    await process.says("runtime.config.reloaded", count=2)
    await others.gone()
    await crowd.more(50)
    await crowd.leave()
    assert [*crowd.failures, *others.failures] == []
    assert {answer for client in others.clients for answer in client.answers} == {"test"}


def ramping(process, **ramp):
    """Give the split a ramp."""
    fields = ", ".join(f"{name}: {value}" for name, value in ({"every": "500ms", "min_requests": 20} | ramp).items())
    text = process.file.read_text()
    process.file.write_text(
        text.replace("split: {stable: 90, test: 10}", f"split: {{stable: 1, test: 0}}, ramp: {{{fields}}}")
    )


async def only(process, version):
    """New clients are answered by this version alone."""
    crowd = Crowd(process.port, each=8)
    await crowd.more(100)
    await crowd.leave()
    assert crowd.failures == []
    assert {answer for client in crowd.clients for answer in client.answers} == {version}


async def test_a_ramp_is_that_of_all(process):
    """Judged by the sum; its weights are those of every worker, of one that follows another, and after a reload."""
    ramping(process, steps=[50, 100])
    await process.start()
    await process.ready()
    crowd = Crowd(process.port, each=8)
    await process.says("ambassador.ramp.moved", move="done")
    await crowd.leave()
    assert crowd.failures == []
    await only(process, "test")
    os.kill(process.workers[0], signal.SIGKILL)
    await process.says("ambassador.worker.started", worker=0, count=2)
    await only(process, "test")
    process.file.write_text(
        process.file.read_text()
        .replace("grace: 10s", "grace: 9s")
        .replace("- {name: main,", "- {name: main, max_fields: 50,")
    )
    await process.says("runtime.config.reloaded")
    await only(process, "test")
    state = (await process.state())["listeners"]["main"]["routes"][0]
    assert (state["ramp"]["state"], state["versions"]["test"]["weight"]) == ("done", 1)
    metrics = await process.ask_admin("/metrics")
    assert re.search(r'ramp_moves_total{cause="",listener="main",move="up",.*} 1.0', metrics)
    assert re.search(r'ramp_state{.*state="done",version="test"} 1.0', metrics)


async def test_a_ramp_of_all_goes_back(process, upstream):
    """By a limit of its own, which every worker tells apart; and it is steered in all of them."""

    async def slow(server, peer):
        while True:
            await server.head(peer)
            await asyncio.sleep(0.03)
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ntest  ")

    process.servers["test"] = (await upstream(slow)).port
    process.write()
    ramping(process, steps=[50, 100], every="60s", p99="20ms")
    await process.start()
    await process.ready()
    crowd = Crowd(process.port, each=8)
    assert "took longer than 20ms" in (await process.says("ambassador.ramp.moved", move="back", cause="p99"))["reason"]
    await crowd.leave()
    assert crowd.failures == []
    await only(process, "stable")
    state = json.loads(await process.ask_admin("/ambassador/ramp", {"action": "restart"}))
    assert state["ramp"]["state"] == "ramping"
    crowd = Crowd(process.port, each=8)
    await crowd.more(100)
    await crowd.leave()
    assert {answer for client in crowd.clients for answer in client.answers} == {"stable", "test"}
    await process.ask_admin("/ambassador/weights", {"weights": {"stable": 0, "test": 1}})
    await process.says("ambassador.ramp.moved", move="by_hand")
    await only(process, "test")


async def test_what_the_grace_cuts_off(process, upstream):
    """Is counted in the worker, and fails the whole process, as it does with one."""

    async def silent(server, peer):
        await server.head(peer)
        await peer.reader.read()

    server = await upstream(silent)
    process.servers = {"stable": server.port, "test": server.port}
    process.write(grace="500ms")
    await process.start()
    await process.ready()
    _, writer = await asyncio.open_connection("127.0.0.1", process.port)
    writer.write(GET)
    async with asyncio.timeout(10):
        while not server.heads:  # noqa: ASYNC110 - the fake knows of no event
            await asyncio.sleep(0.005)
    assert await process.end() == 1
    assert process.said("ambassador.request.dropped")
    assert any("grace" in each["event"] for each in process.log[-2:])
    writer.transport.abort()


async def test_the_level_of_the_log(process):
    """`PUT /loglevel` reaches the workers."""
    text = process.file.read_text()
    port = process.servers["stable"]
    process.file.write_text(
        text.replace(f"stable: 127.0.0.1:{port}", f"stable: {{addresses: [127.0.0.1:{port}], keep: 0s}}")
    )
    await process.start()
    await process.ready()
    reader, writer = await asyncio.open_connection("127.0.0.1", process.admin)
    writer.write(b"PUT /loglevel HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nConnection: close\r\n\r\ndebug")
    async with asyncio.timeout(10):
        assert b" 200 " in await reader.read()
    writer.close()
    crowd = Crowd(process.port)
    await process.says("ambassador.upstream.connected", level="debug")
    await crowd.leave()


async def test_a_unix_socket(process, tmp_path):
    """They share it; its file is gone in the end."""
    path = tmp_path / "s"
    process.write(listen=f"unix:{path}")
    await process.start()
    await process.ready()
    for _ in range(10):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(GET)
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()
    assert sum((await process.requests()).values()) == 10
    assert await process.end() == 0
    assert not path.exists()


async def test_an_address_that_is_taken(process):
    """By a program that would share it: refused all the same."""
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", process.port, reuse_port=True)
    await process.start()
    async with asyncio.timeout(20):
        assert await process.child.wait() == 1
    await process.reading
    assert any("already in use" in each["event"] for each in process.log)
    taken.close()


async def test_workers_end_with_their_parent(process):
    """Even if it was killed: they drain, and go."""
    await process.start()
    await process.ready()
    assert await process.end(signal.SIGKILL) == -signal.SIGKILL
    assert len(process.workers) == 2  # the fixture waits for their end


async def test_a_worker_that_is_stuck(monkeypatch):
    """Is killed: its clients would wait for ever."""
    monkeypatch.setattr(post, "PATIENCE", 0.05)
    telemetry = Telemetry()
    place = post.Post(0, WorkerEvents(telemetry, lambda: 1))
    control, silent = socket.socketpair()
    place._channel = await Channel.of(control)
    child = await asyncio.create_subprocess_exec("sleep", "60")
    place.pid = child.pid
    with pytest.raises(EOFError, match="did not answer"):
        await place.ask(Report())
    async with asyncio.timeout(10):
        assert await child.wait() == -signal.SIGKILL
    silent.close()
    place.ended(-signal.SIGKILL)
    await place.clear()
    assert place.reason == "SIGKILL"
    with pytest.raises(EOFError, match="at the moment"):
        await place.ask(Report())


# --- one process ----------------------------------------------------------------------------------------------------


def configured(text):
    return loads([("a.yaml", text)], {}).patterns["ambassador"]


PLAIN = YAML.format(listen="127.0.0.1:1", more="", stable=1, test=1, admin=2, grace="1s")


async def test_inside_an_application():
    """An application is not forked behind its back."""
    with pytest.raises(StartError, match="podpatterns run"):
        async with Ambassador(configured(PLAIN)):
            pass


# --- sums ---------------------------------------------------------------------------------------------------------


def test_figures_are_added_up():
    """Series by series; a gauge that is the same everywhere stands once; what one has not seen counts as nothing."""
    one = Figures(
        counters={"c": {("a",): 1, ("b",): 2}},
        gauges={"podpatterns_ambassador_weight": {("x",): 90}, "g": {("x",): 1}},
        histograms={"h": {("a",): ({1.0: 1, 2.0: 0, inf: 2}, 0.5)}},
        outcomes={("l", "r", "v"): (1, 2)},
        picks={("l", "r", "v"): 5},
        dropped=1,
        upstreams={"stable": {"available": False, "connections": 3, "addresses": {"a": "ok"}}},
    )
    two = Figures(
        counters={"c": {("b",): 3}, "d": {(): 1}},
        gauges={"podpatterns_ambassador_weight": {("x",): 90}, "g": {("x",): 2, ("y",): 4}},
        histograms={"h": {("a",): ({1.0: 1, 1.5: 1, 2.0: 1}, 0.25), ("b",): ({2.0: 1}, 1.0)}},
        outcomes={("l", "r", "v"): (0, 1)},
        picks={("l", "r", "v"): 6, ("l", "r", "w"): 1},
        disturbed={("l", "r")},
        upstreams={"stable": {"available": True, "connections": 4, "addresses": {"a": "resting"}}},
    )
    expected = Figures(
        counters={"c": {("a",): 1, ("b",): 5}, "d": {(): 1}},
        gauges={"podpatterns_ambassador_weight": {("x",): 90}, "g": {("x",): 3, ("y",): 4}},
        histograms={"h": {("a",): ({1.0: 2, 1.5: 1, 2.0: 1, inf: 2}, 0.75), ("b",): ({2.0: 1}, 1.0)}},
        outcomes={("l", "r", "v"): (1, 3)},
        picks={("l", "r", "v"): 11, ("l", "r", "w"): 1},
        disturbed={("l", "r")},
        dropped=1,
        upstreams={"stable": {"available": True, "connections": 7, "addresses": {"a": "ok / resting"}}},
    )
    assert total([one, two]) == expected
    assert total([]) == Figures()


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1, 2, 3),
        (1.5, 2, 3.5),
        (True, False, True),
        (None, "a", "a"),
        ("a", None, "a"),
        ("a", "a", "a"),
        ("a", "b", "a / b"),
        ({"a": 1}, {"a": 2, "b": None}, {"a": 3, "b": None}),
    ],
)
def test_states_are_merged(one, other, expected):
    """Amounts are added, what is true for one is true, words stand once."""
    assert merged(one, other) == expected
