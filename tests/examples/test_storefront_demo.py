"""The demo, as `make demo` runs it: real manifests, real processes, and a kill -9 in the middle."""

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples/01-storefront"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def demo(pod_run, tmp_path):
    """The demo, as `make demo` starts it."""

    def start(*options):
        files = (EXAMPLE / name for name in ("catalog.yaml", "pod.yaml", "visitors.yaml"))
        return pod_run(*files, "--with", EXAMPLE / "app.yaml", "--keep", tmp_path / "kept", *options)

    return start


def stored(folder):
    with contextlib.closing(sqlite3.connect(next(folder.rglob("logs.sqlite")))) as store:
        (table,) = store.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name LIMIT 1").fetchone()
        return store.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def first_record(folder):
    command = [sys.executable, "-m", "podpatterns", "logs", "query", next(folder.rglob("logs.sqlite")), "--limit", "1"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def written(folder):
    return sum(len(path.read_bytes().splitlines()) for path in folder.rglob("access.log*"))


@pytest.mark.parametrize("network", ["pod"], indirect=True)
def test_kill_9_of_the_sidecar_loses_no_line(demo, tmp_path):
    """The sidecar is killed twice under traffic; it is restarted, and every line written is stored, once."""
    run = demo()
    run.wait_for(r"storefront/storefront\s+ready")
    run.wait_for(r"lines read\s+[1-9]")
    os.kill(run.container("/etc/podpatterns/sidecar.yaml"), signal.SIGKILL)
    run.wait_for(r"storefront/log-shipper\s+restarted")
    run.wait_for(r"storefront/log-shipper\s+ready", after=run.wait_for(r"storefront/log-shipper\s+restarted"))
    assert run.end() == 0, run.output
    assert "exit code 137" in run.output
    assert stored(tmp_path) == written(tmp_path) > 100
    assert first_record(tmp_path)["pod"] == "storefront"
    assert "Every container did what it should." in run.output


@pytest.mark.parametrize("network", ["host"], indirect=True)
def test_ctrl_c_ends_everything_in_order(demo, tmp_path):
    """SIGINT: visitors, then the shop, then its sidecars in reverse, then what the shop depends on; nothing is left."""
    run = demo()
    run.wait_for(r"storefront/storefront\s+ready")
    run.wait_for(r"lines read\s+[1-9]")
    children = [run.container(f"/etc/podpatterns/{name}.yaml") for name in ("sidecar", "ambassador", "adapter")]
    assert run.end() == 0, run.output
    ended = re.findall(r"(\S+)\s+ended: exit code", run.output)
    order = [
        "visitors/visitors", "storefront/storefront", "storefront/metrics", "storefront/catalog-proxy",
        "storefront/log-shipper", "catalog-stable/catalog",
    ]  # fmt: skip
    assert [name for name in ended if name in order] == order
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert stored(tmp_path) == written(tmp_path) > 0
