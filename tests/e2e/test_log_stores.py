"""Outputs against the servers that they are for, from Debian's packages: what arrives is counted there."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from podpatterns.formats.resp import Replies, Value, command
from podpatterns.runtime.units import Address, Duration, SecretFile
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.inputs.tail import TailConfig
from podpatterns.sidecar.outputs.redis import RedisConfig
from podpatterns.sidecar.outputs.syslog import SyslogConfig
from podpatterns.sidecar.runtime import Sidecar
from podpatterns.sidecar.transforms.parse import ParseConfig

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
COUNT = 20_000
EXTRACTED = Path(sys.prefix) / "rsyslog"
"""Where tests/e2e/setup.sh unpacks rsyslog, which cannot be installed beside another syslog server."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def until(holds: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def served(arguments: list[str], port: int, **more: Any) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(arguments, **more)
    until(lambda: listening(port) or process.poll() is not None)
    assert process.poll() is None
    return process


def shipper(directory: Path, output: Any) -> Sidecar:
    records = "".join(json.dumps({"n": n, "level": "warn", "text": f"é {n} \u2028"}) + "\n" for n in range(COUNT))
    (directory / "app.log").write_text(records)
    return Sidecar(
        SidecarConfig(
            inputs=(TailConfig(paths=(f"{directory}/app.log",), poll=Duration("5ms")),),
            transforms=(ParseConfig(format="json"),),
            outputs=(output,),
            checkpoint=f"{directory}/state/checkpoint",
            linger=Duration("5ms"),
            retry_cap=Duration("50ms"),
        )
    )


# --- Redis -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Callable[[], tuple[int, subprocess.Popen[bytes]]]]:
    program, port, started = shutil.which("redis-server"), free_port(), []
    assert program is not None, "run `make e2e`, which installs it"

    def start() -> tuple[int, subprocess.Popen[bytes]]:
        options = ["--port", str(port), "--dir", str(tmp_path), "--appendonly", "yes", "--appendfsync", "always"]
        quiet = ["--requirepass", "secret", "--save", "", "--logfile", f"{tmp_path}/redis.log"]
        started.append(served([program, *options, *quiet], port))
        return port, started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def ask(port: int, *words: bytes) -> Value:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(command(b"AUTH", b"secret") + command(*words))
        parser, replies = Replies(), list[Value]()
        while len(replies) < 2:
            replies += parser.feed(connection.recv(1 << 20))
    return replies[1]


async def test_redis_killed_in_between_loses_nothing(redis: Any, tmp_path: Path) -> None:
    """A server that syncs each write is killed and comes back: every record is in the stream, told by its id."""
    port, process = redis()
    (tmp_path / "password").write_text("secret\n")
    output = RedisConfig(
        address=Address(f"127.0.0.1:{port}"), stream="logs", password=SecretFile(tmp_path / "password")
    )
    async with shipper(tmp_path, output) as sidecar:
        await sidecar.acknowledged(1)
        process.kill()
        process.wait()
        with (tmp_path / "app.log").open("a") as file:
            file.write(json.dumps({"n": COUNT}) + "\n")
        redis()
        await sidecar.acknowledged(COUNT + 1)
    entries = ask(port, b"XRANGE", b"logs", b"-", b"+")
    assert isinstance(entries, list)
    by_id = {fields[1]: json.loads(fields[3])["n"] for _, fields in entries}
    assert sorted(by_id.values()) == list(range(COUNT + 1))
    assert sidecar.ledger.dead == 0


# --- rsyslog ---------------------------------------------------------------------------------------------------------

RSYSLOG = """
module(load="imtcp")
input(type="imtcp" port="{port}" address="127.0.0.1")
template(name="all" type="string" string="%app-name% %hostname% %syslogseverity% %msg%\\n")
*.* action(type="omfile" file="{directory}/received" template="all")
"""


@pytest.fixture
def rsyslog(tmp_path: Path) -> Iterator[int]:
    installed = shutil.which("rsyslogd")
    program = installed or EXTRACTED / "usr/sbin/rsyslogd"
    assert Path(program).exists(), "run `make e2e`, which unpacks it"
    libraries = [] if installed else [path.parent for path in EXTRACTED.glob("usr/lib/*/rsyslog")]
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, libraries))}
    modules = [f"-M{path}/rsyslog" for path in libraries]
    port = free_port()
    (tmp_path / "rsyslog.conf").write_text(RSYSLOG.format(port=port, directory=tmp_path))
    arguments = [str(program), "-n", f"-f{tmp_path}/rsyslog.conf", f"-i{tmp_path}/pid", *modules]
    process = served(arguments, port, env=environment)
    yield port
    process.terminate()
    process.wait()


async def test_rsyslog_reads_every_message(rsyslog: int, tmp_path: Path) -> None:
    """Octet counting, header and text are as rsyslog reads them: each record arrives once, whole, in order."""
    output = SyslogConfig(address=Address(f"127.0.0.1:{rsyslog}"), app_name="shop", hostname="shop-1")
    async with shipper(tmp_path, output) as sidecar:
        await sidecar.acknowledged(COUNT)
    received = tmp_path / "received"
    until(lambda: received.exists() and received.read_bytes().count(b"\n") >= COUNT)
    lines = received.read_text().split("\n")[:-1]
    assert {tuple(line.split(" ")[:3]) for line in lines} == {("shop", "shop-1", "4")}
    records = [json.loads(line.split(" ", 3)[3]) for line in lines]
    assert [record["n"] for record in records] == list(range(COUNT))
    assert records[-1]["text"] == f"é {COUNT - 1} \u2028"
