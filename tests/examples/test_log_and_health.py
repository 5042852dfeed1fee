"""The application with a log of its own kind: its log as JSON, and its health from many checks, in a pod."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from podpatterns.pod import LocalPod
from podpatterns.pod.events import What
from tests.examples.free_ports import moved

EXAMPLE = Path(__file__).parents[2] / "examples/06-log-and-health-adapter"

pytestmark = pytest.mark.timeout(120)


async def fetch(url):
    """Status and JSON."""

    def get():
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    return await asyncio.to_thread(get)


async def test_log_and_health(tmp_path, network):
    """Records in UTC with levels and whole traces; a worker that sticks makes the pod unready, and ready again."""
    ports = moved(EXAMPLE / "pod.yaml", tmp_path, 9803, 9805, 8740)
    async with LocalPod(tmp_path / "pod.yaml", extra=[EXAMPLE / "app.yaml"], network=network) as pod:
        await pod.wait_ready()
        status, health = await fetch(f"http://127.0.0.1:{ports[9805]}/health")
        assert (status, health["status"]) == (200, "ok")
        assert list(health["checks"]) == ["http", "sqlite", "worker", "room"]
        entry = await pod.wait_line("adapter", "KeyError: 'customer'")
        record = json.loads(entry.detail)
        assert record.keys() == {"time", "level", "message", "logger", "service"}
        assert (record["level"], record["logger"], record["service"]) == ("error", "shop.orders", "shop")
        assert record["message"].startswith("order 10 has failed\nTraceback (most recent call last):\n")
        written = datetime.fromisoformat(record["time"])
        assert abs(datetime.now(UTC) - written) < timedelta(minutes=1)  # the application writes the time of Zurich

        await fetch(f"http://127.0.0.1:{ports[8740]}/stick")
        await pod.wait(What.UNREADY, "shop")
        status, health = await fetch(f"http://127.0.0.1:{ports[9805]}/health")
        assert (status, health["status"]) == (503, "failing")
        assert [name for name, check in health["checks"].items() if check["status"] != "passing"] == ["worker"]
        assert "longer than 3s" in health["checks"]["worker"]["reason"]
        await pod.wait_ready()
        assert (await fetch(f"http://127.0.0.1:{ports[9805]}/health"))[0] == 200
