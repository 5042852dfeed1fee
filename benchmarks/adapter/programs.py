"""The programs under test: the adapter, the reference StatsD daemon, mtail, and exporters with what they ask."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from benchmarks.processes import CORE, LOAD_CORE, cpu, free_port, program, rss, start, stop, wait_for

PEERS = Path(sys.prefix) / "peers"
"""Where benchmarks/adapter/peers.sh puts those that no package of Python brings."""

STATSD = PEERS / "node_modules" / "statsd" / "stats.js"
SETTLED = 0.3
"""Seconds in which a process has to be idle for its work to be over."""


def peer(name: str) -> str | None:
    """Where a peer's program is: unpacked, or installed."""
    unpacked = PEERS / "usr" / "bin" / name
    return str(unpacked) if unpacked.exists() else program(name)


def missing() -> list[str]:
    """What has to be there first."""
    names = (
        "mtail",
        "prometheus-nginx-exporter",
        "prometheus-redis-exporter",
        "nginx",
        "redis-server",
        "node",
        "taskset",
    )
    found = [name for name in names if peer(name) is None]
    return [*found, *([] if STATSD.exists() else ["npm's statsd"])]


@dataclass(slots=True)
class Running:
    """A program at work, with the port on which it tells figures."""

    process: subprocess.Popen[bytes]
    port: int

    def get(self, path: str = "/metrics") -> str:
        """A page of it."""
        with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as response:
            text: str = response.read().decode()
            return text

    def cpu(self) -> float:
        """Seconds of CPU time so far."""
        return cpu(self.process.pid)

    def rss(self) -> float:
        """Resident megabytes."""
        return rss(self.process.pid)

    def settle(self) -> None:
        """Wait until it has nothing more to do."""
        before = -1.0
        while (now := self.cpu()) - before > 0.005:
            before = now
            time.sleep(SETTLED)


def sum_of(page: str, name: str, label: str = "") -> float:
    """What the samples of a metric add up to, those with some label text if it is given."""
    rows = re.findall(rf"(?m)^{name}(\{{[^\n]*\}})? (\S+)", page)
    return sum(float(value) for labels, value in rows if label in labels)


# --- ours -------------------------------------------------------------------------------------------------------------


@contextmanager
def adapter(folder: Path, inputs: str) -> Iterator[Running]:
    """`podpatterns run` with some inputs, a page, and its defaults otherwise."""
    port, admin = free_port(), free_port()
    file = folder / f"adapter-{port}.yaml"
    file.write_text(
        f"""
adapter:
  inputs:
{inputs}
  outputs:
  - {{type: prometheus, listen: "127.0.0.1:{port}", final_scrape: 0s}}
runtime: {{admin: "127.0.0.1:{admin}", log_level: warning}}
""",
        "utf-8",
    )
    yield from _running([sys.executable, "-m", "podpatterns", "run", str(file)], port)


# --- theirs -----------------------------------------------------------------------------------------------------------


@contextmanager
def statsd(folder: Path, port: int) -> Iterator[Running]:
    """The reference daemon. It flushes after an hour, so that percentiles are not what is measured."""
    admin = free_port()
    file = folder / f"statsd-{port}.js"
    settings = {
        "port": port,
        "address": "127.0.0.1",
        "mgmt_address": "127.0.0.1",
        "mgmt_port": admin,
        "flushInterval": 3_600_000,
        "backends": [],
    }
    file.write_text(json.dumps(settings), "utf-8")
    yield from _running([str(peer("node")), str(STATSD), str(file)], admin)


MTAIL = """\
counter requests_total by method, status
counter bytes_total
/"(?P<method>[A-Z]+) \\S+ [^"]*" (?P<status>\\d{3}) (?P<bytes>\\d+)/ {
  requests_total[$method][$status]++
  bytes_total += $bytes
}
"""


@contextmanager
def mtail(folder: Path, log: Path) -> Iterator[Running]:
    """The same expression in a program of mtail, following the log."""
    port = free_port()
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "access.mtail").write_text(MTAIL, "utf-8")
    command = [
        str(peer("mtail")),
        "-progs",
        str(programs),
        "-logs",
        str(log),
        "-address",
        "127.0.0.1",
        "-port",
        str(port),
    ]
    yield from _running([*command, "-log_dir", str(folder)], port)


@contextmanager
def nginx_exporter(_folder: Path, target: int) -> Iterator[Running]:
    """Debian's exporter for stub_status."""
    port = free_port()
    uri = f"http://127.0.0.1:{target}/stub_status"
    command = [
        str(peer("prometheus-nginx-exporter")),
        f"-nginx.scrape-uri={uri}",
        f"-web.listen-address=127.0.0.1:{port}",
    ]
    yield from _running(command, port)


@contextmanager
def redis_exporter(_folder: Path, target: int) -> Iterator[Running]:
    """Debian's exporter for Redis."""
    port = free_port()
    command = [str(peer("prometheus-redis-exporter")), f"-redis.addr=redis://127.0.0.1:{target}"]
    yield from _running([*command, f"-web.listen-address=127.0.0.1:{port}"], port)


# --- what is asked ----------------------------------------------------------------------------------------------------


@contextmanager
def nginx(folder: Path) -> Iterator[Running]:
    """A web server that tells its figures."""
    port = free_port()
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr crit; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;"
        f" fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
        f"server {{ listen 127.0.0.1:{port}; location /stub_status {{ stub_status; }} }} }}\n",
        "utf-8",
    )
    yield from _running([str(program("nginx")), "-p", str(folder), "-c", str(file)], port, LOAD_CORE)


@contextmanager
def redis(folder: Path) -> Iterator[Running]:
    """A Redis with nothing in it."""
    port = free_port()
    command = [
        str(peer("redis-server")),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    yield from _running(command, port, LOAD_CORE)


def _running(command: list[str], port: int, core: int = CORE) -> Iterator[Running]:
    process = start(command, core)
    try:
        wait_for(port, process)
        yield Running(process, port)
    finally:
        stop([process])
