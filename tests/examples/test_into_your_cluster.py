"""Our containers in somebody else's workload: injected, run by its own rules, and taken out again."""

import asyncio
import json
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from podpatterns.cli import main
from podpatterns.pod import LocalPod

EXAMPLE = Path(__file__).parents[2] / "examples" / "08-into-your-cluster"
PATTERNS = ("sidecar", "ambassador", "adapter", "init")

pytestmark = pytest.mark.timeout(120)


def inject(*options):
    configs = [part for name in PATTERNS for part in ("--config", f"components/{name}/{name}.yaml")]
    result = CliRunner().invoke(main, ["pod", "inject", "base/deployment.yaml", *(options or configs)])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(autouse=True)
def _folder(monkeypatch):
    monkeypatch.chdir(EXAMPLE)


@pytest.mark.parametrize("name", PATTERNS)
def test_the_components_are_what_inject_makes(name):
    """No component says anything else than the command would today."""
    made = inject(
        "--config", f"components/{name}/{name}.yaml", "--config-map", f"podpatterns-{name}", "--output", "kustomize"
    )
    assert (EXAMPLE / f"components/{name}/kustomization.yaml").read_text("utf-8") == made


async def test_the_injected_deployment_runs(tmp_path, network):
    """As native sidecars, in processes: requests through the ambassador, lines from the sidecar, a page, a folder."""
    source = inject()
    manifest = tmp_path / "injected.yaml"
    manifest.write_text(source)
    async with LocalPod(manifest, network=network, publish=("8000", "9801", "9802", "9803")) as pod:
        for name in ("podpatterns-sidecar", "podpatterns-ambassador", "podpatterns-adapter", "web"):
            await pod.wait_ready(name)
        for _ in range(20):
            assert (await fetch("http://localhost:8000/uploads/")).startswith("<!DOCTYPE")
        assert "podpatterns_adapter" in await fetch("http://localhost:9803/metrics")
        requests = json.loads(await fetch("http://localhost:9802/status"))["patterns"]["ambassador"]["facts"]
        assert requests["requests"] == 20
        facts = {}
        async with asyncio.timeout(30):
            while facts.get("acknowledged", 0) < 20:
                facts = json.loads(await fetch("http://localhost:9801/status"))["patterns"]["sidecar"]["facts"]
                await asyncio.sleep(0.1)
        await pod.end()
        assert [verdict.faults for verdict in pod.verdicts() if not verdict.ok] == []
    undone = CliRunner().invoke(main, ["pod", "uninject", str(manifest)])
    assert undone.stdout == (EXAMPLE / "base/deployment.yaml").read_text("utf-8")


async def fetch(url):
    def get():
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read().decode()

    return await asyncio.to_thread(get)
