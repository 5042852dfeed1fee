"""The smaller examples in real containers; the storefront and the injected Deployment have tests of their own."""

import contextlib
import json
import re
import sqlite3
import sys
from urllib.parse import quote

import pytest

from tests.e2e.podman import (
    ROOT,
    classic,
    fetch,
    injected,
    logs,
    played,
    run,
    status,
    the_injected_one_runs,
    volume,
    wait_for,
)

EXAMPLES = ROOT / "examples"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), pytest.mark.usefixtures("images")]


def manifests(example, *names):
    return [(EXAMPLES / example / name).read_text() for name in names]


def test_the_init_container(tmp_path):
    """The repository is cloned before the application starts, which reads it."""
    (text,) = manifests("00-init-container", "pod.yaml")
    with played(tmp_path, classic(injected(text, "Pod/sauce"))):
        the_injected_one_runs()
        output = wait_for("the application", lambda: logs("sauce-app") if "running" in logs("sauce-app") else "")
        assert output.splitlines()[-1] == "The app is running!"
        assert len(output.splitlines()) > 1


def test_the_canary(tmp_path):
    """The good version gets everything, the bad one is taken back, and its log says why."""
    *others, text = manifests("02-canary", "app.yaml", "versions.yaml", "pod.yaml")
    with played(tmp_path, classic(*others, injected(text, "Pod/shop"))):
        the_injected_one_runs()
        wait_for("the end of both ramps", lambda: re.search(r"next +100%.*hasty +0%", logs("shop-shoppers")))
        back = next(line for line in logs("shop-canary").splitlines() if '"move":"back"' in line)
        assert '"version":"hasty"' in back
        assert "requests succeeded" in back


def test_the_access_details(tmp_path):
    """Plain requests of the application reach a service that wants TLS, a certificate and a token."""
    secrets = run(sys.executable, EXAMPLES / "03-access-details" / "make_secrets.py")
    *others, text = manifests("03-access-details", "app.yaml", "service.yaml", "pod.yaml")
    with played(tmp_path, classic(*others, secrets, injected(text, "Pod/shop"))):
        the_injected_one_runs()
        wait_for("an order", lambda: "success: order 1 is shipped" in logs("shop-shop"), seconds=150)
        assert status(9802)["facts"]["errors"] == 0
        shown = fetch("http://localhost:9802/ambassador") + fetch("http://localhost:9802/config")
        assert "orders" in shown
        assert "BEGIN" not in shown


def test_the_log_of_a_job(tmp_path):
    """The classic sidecar ships every line, and ends when the report has."""
    with played(tmp_path, classic(*manifests("04-log-shipping", "classic.yaml"))):
        ended = [
            "podman",
            "ps",
            "--all",
            "--filter",
            "name=report-classic-",
            "--format",
            "{{.Names}} {{.ExitCode}} {{.State}}",
        ]
        wait_for("the end of both", lambda: run(*ended).count(" 0 Exited") == 2)
        with contextlib.closing(sqlite3.connect(f"file:{volume('store')}/logs.sqlite?mode=ro", uri=True)) as store:
            (stored,) = store.execute("SELECT count(*) FROM logs").fetchone()
        assert stored == 403


STEPS = {
    "10-init-git": ("site-reader", "I read: edition 2"),
    "11-init-fetch": ("scorer-scorer", "scoring with: 0.25 0.50 0.25"),
    "12-init-wait": ("ledger-ledger", "The database is ready, and so am I."),
    "13-init-render": ("mailer-mailer", "sender = mailer@shop.example.org"),
    "14-init-run": ("shop-shop", "articles: apple pear"),
    "15-init-permissions": ("gallery-gallery", "2026 2775"),
}


@pytest.mark.parametrize("name", STEPS)
def test_the_init_steps(name, tmp_path):
    """The application finds what the step has made."""
    (text,) = manifests(name, "pod.yaml")
    container, line = STEPS[name]
    with played(tmp_path, classic(injected(text, f"Pod/{container.partition('-')[0]}"))):
        the_injected_one_runs()
        wait_for(f"the line {line}", lambda: line in logs(container))


@pytest.mark.usefixtures("server_image")
def test_the_metrics_adapter(tmp_path):
    """A real Prometheus has the figures of an application that sends StatsD, and of a Redis that knows INFO."""
    *others, text = manifests("05-metrics-adapter", "app.yaml", "prometheus.yaml", "pod.yaml")
    with played(tmp_path, classic(*others, injected(text, "Pod/shop"))):
        the_injected_one_runs()
        query = "http://localhost:9090/api/v1/query?query="
        for wanted in ('shop_orders_total{city="basel"}>0', 'redis_commands_total{cmd="hincrby"}>0', "redis_up==1"):
            wait_for(wanted, lambda wanted=wanted: '"result":[{' in fetch(query + quote(wanted)))
        assert status(9803)["facts"]["refused"] == 0


def test_the_log_and_health_adapter(tmp_path):
    """The log comes out as JSON, and the endpoint follows the worker: well, stuck, and well again."""
    *others, text = manifests("06-log-and-health-adapter", "app.yaml", "pod.yaml")
    with played(tmp_path, classic(*others, injected(text, "Pod/shop"))):
        the_injected_one_runs()
        health = "http://localhost:9805/health"
        answer = json.loads(wait_for("health", lambda: fetch(health)))
        assert (answer["status"], len(answer["checks"])) == ("ok", 4)
        line = wait_for("a trace", lambda: re.search(r'^\{"time":.*KeyError.*$', logs("shop-adapter"), re.MULTILINE))[0]
        assert json.loads(line)["message"].startswith("order 10 has failed\nTraceback")
        fetch("http://localhost:8740/stick")
        wait_for("a worker that is stuck", lambda: not fetch(health))
        wait_for("a worker that is back", lambda: fetch(health))
