"""The smaller examples in real containers; the storefront and the injected Deployment have tests of their own."""

import re
import sys

import pytest

from tests.e2e.podman import ROOT, classic, fetch, logs, played, run, status, wait_for

EXAMPLES = ROOT / "examples"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), pytest.mark.usefixtures("images")]


def manifests(example, *names):
    return [(EXAMPLES / example / name).read_text() for name in names]


def test_the_init_container(tmp_path):
    """The repository is cloned before the application starts, which reads it."""
    with played(tmp_path, classic(*manifests("00-init-container", "pod.yaml"))):
        output = wait_for("the application", lambda: logs("sauce-app") if "running" in logs("sauce-app") else "")
        assert output.splitlines()[-1] == "The app is running!"
        assert len(output.splitlines()) > 1


def test_the_canary(tmp_path):
    """The good version gets everything, the bad one is taken back, and its log says why."""
    with played(tmp_path, classic(*manifests("02-canary", "app.yaml", "versions.yaml", "pod.yaml"))):
        wait_for("the end of both ramps", lambda: re.search(r"next +100%.*hasty +0%", logs("shop-shoppers")))
        back = next(line for line in logs("shop-canary").splitlines() if '"move":"back"' in line)
        assert '"version":"hasty"' in back
        assert "requests succeeded" in back


def test_the_access_details(tmp_path):
    """Plain requests of the application reach a service that wants TLS, a certificate and a token."""
    secrets = run(sys.executable, EXAMPLES / "03-access-details" / "make_secrets.py")
    texts = [*manifests("03-access-details", "app.yaml", "service.yaml", "pod.yaml"), secrets]
    with played(tmp_path, classic(*texts)):
        wait_for("an order", lambda: "success: order 1 is shipped" in logs("shop-shop"))
        assert status(9802)["facts"]["errors"] == 0
        shown = fetch("http://localhost:9802/ambassador") + fetch("http://localhost:9802/config")
        assert "orders" in shown
        assert "BEGIN" not in shown
