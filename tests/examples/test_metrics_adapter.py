"""One page for an application that speaks StatsD and for Redis, and a real Prometheus that scrapes it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from podpatterns.pod import LocalPod
from tests.examples.free_ports import moved

EXAMPLE = Path(__file__).parents[2] / "examples/05-metrics-adapter"

pytestmark = pytest.mark.timeout(120)


async def fetch(url):
    """A page; empty while there is none."""

    def get():
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    return await asyncio.to_thread(get)


async def comes_to(url, pattern, seconds=30):
    """Wait until a page holds this; a page has no event that says so."""
    page = ""
    try:
        async with asyncio.timeout(seconds):
            while not re.search(pattern, page, re.MULTILINE):
                await asyncio.sleep(0.1)
                page = await fetch(url)
    except TimeoutError:
        pytest.fail(f"{pattern} is not in {url}:\n{page}")
    return page


async def test_one_page_for_both(tmp_path, network):
    """Orders with their cities, latencies in seconds, and whether Redis has answered, which may not be installed."""
    ports = moved(EXAMPLE / "pod.yaml", tmp_path, 9102, 9803, 8125, 6379)
    async with LocalPod(tmp_path / "pod.yaml", extra=[EXAMPLE / "app.yaml"], network=network) as pod:
        await pod.wait_ready()
        url = f"http://127.0.0.1:{ports[9102]}/metrics"
        page = await comes_to(url, r'^shop_orders_total\{city="basel"\} [1-9]')
        assert "# HELP shop_orders_total Orders by city.\n# TYPE shop_orders_total counter\n" in page
        assert re.search(r'^shop_checkout_seconds_bucket\{city="\w+",le="0\.25"\} [1-9]', page, re.MULTILINE)
        assert re.search(r"^shop_stock \d+$", page, re.MULTILINE)
        assert re.search(r"^redis_up [01]$", page, re.MULTILINE)


@pytest.mark.e2e
async def test_a_real_prometheus_scrapes_both(tmp_path, monkeypatch, network):
    """Its query API knows the orders of each city, and the commands that Redis has been given."""
    # `make e2e` puts Prometheus beside this Python; a test that is run by itself finds it there as well.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    ports = moved(EXAMPLE / "pod.yaml", tmp_path, 9102, 9803, 8125, 6379)
    text = (EXAMPLE / "prometheus.yaml").read_text().replace(":9102", f":{ports[9102]}")
    (tmp_path / "prometheus").write_text(text)
    ports |= moved(tmp_path / "prometheus", tmp_path, 9090)
    (tmp_path / "prometheus").rename(tmp_path / "prometheus.yaml")
    files = (tmp_path / "pod.yaml", tmp_path / "prometheus.yaml")
    async with LocalPod(*files, extra=[EXAMPLE / "app.yaml"], network=network) as pod:
        await pod.wait_ready()
        query = f"http://127.0.0.1:{ports[9090]}/api/v1/query?query="
        for wanted in (
            'sum(increase(shop_orders_total{city="zurich"}[1m])) > 0',
            "redis_up == 1",
            'redis_commands_total{cmd="hincrby"} > 0',
            "histogram_quantile(0.9, sum(rate(shop_checkout_seconds_bucket[1m])) by (le)) < 1",
        ):
            answer = json.loads(await comes_to(query + urllib.parse.quote(wanted), r'"result":\[\{'))
            assert answer["status"] == "success"
