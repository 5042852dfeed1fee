"""The storefront in real containers: podman plays its manifests, and every promise is kept there too."""

import contextlib
import re
import sqlite3

import pytest

from tests.e2e.podman import (
    ROOT,
    classic,
    fetch,
    injected,
    played,
    run,
    status,
    the_injected_one_runs,
    volume,
    wait_for,
)

EXAMPLE = ROOT / "examples/01-storefront"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", autouse=True)
def _pods(images, tmp_path_factory):
    """The example, running."""
    app, catalog, pod, visitors = (
        (EXAMPLE / name).read_text() for name in ("app.yaml", "catalog.yaml", "pod.yaml", "visitors.yaml")
    )
    texts = (app, catalog, injected(pod, "Pod/storefront"), visitors)
    with played(tmp_path_factory.mktemp("podman"), classic(*texts)):
        the_injected_one_runs()
        yield


def test_every_promise_is_kept():
    """Lines written = lines stored, shares within the bounds of chance, metrics on the page; also after a kill -9."""
    wait_for("traffic", lambda: status(9802)["facts"].get("requests", 0) >= 300)

    run("podman", "kill", "--signal", "KILL", "storefront-log-shipper")
    run("podman", "start", "storefront-log-shipper", inside=True)
    wait_for("traffic", lambda: status(9802)["facts"].get("requests", 0) >= 600)
    run("podman", "stop", "visitors-visitors")

    wait_for("the last line", lambda: all(check["ok"] for check in status(9801)["checks"]) and status(9801)["checks"])
    logs = [path for path in volume("logs").iterdir() if path.name.startswith("access.log")]
    written = [line for path in logs for line in path.read_text().splitlines()]
    with contextlib.closing(sqlite3.connect(f"file:{volume('store')}/logs.sqlite?mode=ro", uri=True)) as store:
        (table,) = store.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name LIMIT 1").fetchone()
        (stored,) = store.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert stored == len(written) >= 600

    ambassador = status(9802)
    assert all(check["ok"] for check in ambassador["checks"]), ambassador
    page = fetch("http://localhost:9102/metrics")
    (counted,) = re.findall(r'^storefront_requests_total\{status="200"\} (\d+)$', page, re.MULTILINE)
    # Without native sidecars nothing makes the shop wait for the adapter: the first datagrams may find nobody.
    assert len(written) - 100 < int(counted) <= len(written)


def test_what_runs_has_no_rights():
    """Our containers run as a numeric user without rights, as their images say."""
    for name in ("log-shipper", "catalog-proxy", "metrics"):
        assert run("podman", "inspect", f"storefront-{name}", "--format", "{{.Config.User}}").strip() == "65532:65532"
