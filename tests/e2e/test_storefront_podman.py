"""The storefront in real containers: podman plays its manifests, and every promise is kept there too.

podman 4.3 knows no native sidecars, so these become ordinary containers for it. Everything runs in a network
namespace of its own, where the pods find each other on localhost and no port of the machine is in the way.
"""

import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/01-storefront"
NAMESPACE = "podpatterns-e2e"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def classic(*names):
    """The manifests as podman 4.3 can play them: native sidecars among the containers, before the main ones."""
    documents = [each for name in names for each in yaml.safe_load_all((EXAMPLE / name).read_text())]
    for document in documents:
        if document["kind"] != "Pod":
            continue
        spec = document["spec"]
        inits = spec.pop("initContainers", [])
        sidecars = [each for each in inits if each.get("restartPolicy") == "Always"]
        # podman would start an init container again and again under `Always`.
        spec["restartPolicy"] = "OnFailure"
        spec["initContainers"] = [each for each in inits if each not in sidecars]
        spec["containers"] = sidecars + spec["containers"]
        for container in spec["initContainers"] + spec["containers"]:
            # Probes by port name and published ports need podman's own network.
            for field in ("restartPolicy", "startupProbe", "readinessProbe", "livenessProbe", "ports"):
                container.pop(field, None)
    return yaml.safe_dump_all(documents)


def run(*command, inside=False, check=True):
    prefix = ["nsenter", f"--net=/run/netns/{NAMESPACE}"] if inside else []
    done = subprocess.run([*prefix, *command], capture_output=True, text=True, timeout=300, check=False)
    assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def clean():
    run("podman", "pod", "rm", "--force", "--all", check=False)
    run("podman", "volume", "prune", "--force", check=False)
    run("ip", "netns", "del", NAMESPACE, check=False)


@pytest.fixture(scope="module")
def pods(tmp_path_factory):
    """The example, running; ends with everything removed."""
    assert shutil.which("podman"), "podman is not installed"
    run(str(ROOT / "containers/build.sh"), "podman")
    clean()
    run("ip", "netns", "add", NAMESPACE)
    run("ip", "-n", NAMESPACE, "link", "set", "lo", "up")
    manifest = tmp_path_factory.mktemp("podman") / "storefront.yaml"
    manifest.write_text(classic("app.yaml", "catalog.yaml", "pod.yaml", "visitors.yaml"))
    try:
        run("podman", "play", "kube", "--network", "host", str(manifest), inside=True)
        yield manifest
    finally:
        clean()


def status(port):
    text = run("curl", "--silent", f"http://localhost:{port}/status", inside=True, check=False)
    with contextlib.suppress(ValueError):
        return next(iter(json.loads(text)["patterns"].values()))
    return {"facts": {}, "checks": []}


def wait_for(what, true, seconds=60):
    """Look again until it holds; the containers offer no event to wait for."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"{what} has not come within {seconds} s"
        time.sleep(0.2)
    return found


def volume(name):
    return Path(run("podman", "volume", "inspect", name, "--format", "{{.Mountpoint}}").strip())


def test_every_promise_is_kept(pods):
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
    page = run("curl", "--silent", "http://localhost:9102/metrics", inside=True)
    (counted,) = re.findall(r'^storefront_requests_total\{status="200"\} (\d+)$', page, re.MULTILINE)
    # Without native sidecars nothing makes the shop wait for the adapter: the first datagrams may find nobody.
    assert len(written) - 100 < int(counted) <= len(written)


def test_what_runs_has_no_rights(pods):
    """Our containers run as a numeric user without rights, as their images say."""
    for name in ("log-shipper", "catalog-proxy", "metrics"):
        assert run("podman", "inspect", f"storefront-{name}", "--format", "{{.Config.User}}").strip() == "65532:65532"
