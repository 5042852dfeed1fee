"""Injected into somebody else's Deployment: played by podman in the classic form, built by kustomize."""

import os
import sys
from pathlib import Path

import pytest
import yaml

from podpatterns.pod.lint import Linter
from tests.e2e.podman import ROOT, classic, fetch, logs, played, run, status, wait_for

EXAMPLE = ROOT / "examples/08-into-your-cluster"
KUBECTL = Path(sys.prefix) / "bin/kubectl"
PATTERNS = ("sidecar", "ambassador", "adapter", "init")

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def as_root(text):
    """podman gives an emptyDir to root alone, a cluster to everyone."""
    document = yaml.safe_load(text)
    spec = document["spec"]["template"]["spec"]
    for each in [*spec.get("initContainers", []), *spec["containers"]]:
        each.setdefault("securityContext", {}).update(runAsUser=0, runAsNonRoot=False)
    return yaml.safe_dump(document)


@pytest.fixture(scope="module")
def _pod(images, tmp_path_factory):
    """The Deployment with all four injected in the classic form, running."""
    configs = [part for name in PATTERNS for part in ("--config", f"components/{name}/{name}.yaml")]
    command = [sys.executable, "-m", "podpatterns", "pod", "inject", "base/deployment.yaml", *configs]
    injected = run(*command, "--classic", "--pull", "IfNotPresent", cwd=EXAMPLE)
    with played(tmp_path_factory.mktemp("podman"), as_root(classic(injected))):
        yield


@pytest.mark.usefixtures("_pod")
def test_what_is_injected_runs_in_podman():
    """Requests through the ambassador reach the server, its lines the sidecar's output, the page is there."""
    wait_for("an answer through the ambassador", lambda: "uploads" in fetch("http://localhost:8000/"))
    for _ in range(20):
        assert fetch("http://localhost:8000/uploads/").startswith("<!DOCTYPE")
    assert "podpatterns_adapter" in fetch("http://localhost:9803/metrics")
    wait_for("the lines", lambda: status(9801)["facts"].get("acknowledged", 0) >= 20)
    containers = run("podman", "ps", "--format", "{{.Names}}").split()
    (sidecar,) = [name for name in containers if name.endswith("podpatterns-sidecar")]
    assert '"GET /uploads/ HTTP/1.1' in logs(sidecar).replace("\\", "")


def test_the_kustomize_components_build():
    """All together; the result fits Kubernetes' schema and our own rules."""
    whole = run(KUBECTL, "kustomize", "shop", cwd=EXAMPLE)
    assert [str(each) for each in Linter(kubernetes="latest").lint(whole)] == []
    deployment = next(each for each in yaml.safe_load_all(whole) if each["kind"] == "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    assert {each["name"] for each in spec["initContainers"]} == {f"podpatterns-{name}" for name in PATTERNS}
    primary = yaml.safe_load((EXAMPLE / "base/deployment.yaml").read_text())["spec"]["template"]["spec"]["containers"]
    assert spec["containers"] == primary


@pytest.mark.parametrize("name", PATTERNS)
def test_each_kustomize_component_builds_alone(name, tmp_path):
    """A component adds its container and leaves the rest of the Deployment as it was."""
    files = {"resources": [EXAMPLE / "base"], "components": [EXAMPLE / "components" / name]}
    relative = {key: [os.path.relpath(path, tmp_path) for path in paths] for key, paths in files.items()}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(relative))
    built = run(KUBECTL, "kustomize", "--load-restrictor", "LoadRestrictionsNone", tmp_path)
    # Without the sidecar nobody reads the logs, and lint says so.
    expected = [] if name == "sidecar" else ["volume-without-reader"]
    assert [each.rule for each in Linter(kubernetes="latest").lint(built)] == expected
    deployment = next(each for each in yaml.safe_load_all(built) if each["kind"] == "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    assert [each["name"] for each in spec["initContainers"]] == [f"podpatterns-{name}"]


@pytest.mark.parametrize("name", PATTERNS)
def test_kubectl_makes_the_same_of_a_patch(name):
    """`--output patch`, applied by kubectl, is what `pod inject` writes."""
    base = "base/deployment.yaml"
    command = [sys.executable, "-m", "podpatterns", "pod", "inject", base, "--config", f"components/{name}/{name}.yaml"]
    patch = run(*command, "--output", "patch", cwd=EXAMPLE)
    patched = run(KUBECTL, "patch", "--local", "-f", base, "--type=json", "-p", patch, "-o", "yaml", cwd=EXAMPLE)
    assert yaml.safe_load(patched) == yaml.safe_load(run(*command, cwd=EXAMPLE))
