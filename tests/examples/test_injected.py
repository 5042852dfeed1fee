"""Every example's pod with another container of ours injected: as a native sidecar it runs beside all that is there."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from podpatterns.pod import LocalPod
from podpatterns.pod.inject.injection import part
from podpatterns.pod.inject.manifest import inject, uninject

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.timeout(120)

CASES = {
    "00-init-container": ("Pod/sauce", "pod.yaml", [], []),
    "01-storefront": ("Pod/storefront", "pod.yaml", ["catalog.yaml"], ["app.yaml"]),
    "02-canary": ("Pod/shop", "pod.yaml", ["versions.yaml"], ["app.yaml"]),
    "03-access-details": ("Pod/shop", "pod.yaml", ["service.yaml"], ["app.yaml", "secrets.yaml"]),
    "04-log-shipping": ("Job/report", "native.yaml", [], []),
    "05-metrics-adapter": ("Pod/shop", "pod.yaml", ["prometheus.yaml"], ["app.yaml"]),
    "06-log-and-health-adapter": ("Pod/shop", "pod.yaml", [], ["app.yaml"]),
    "10-init-git": ("Pod/site", "pod.yaml", [], []),
    "11-init-fetch": ("Pod/scorer", "pod.yaml", [], []),
    "12-init-wait": ("Pod/ledger", "pod.yaml", [], []),
    "13-init-render": ("Pod/mailer", "pod.yaml", [], []),
    "14-init-run": ("Pod/shop", "pod.yaml", [], []),
    "15-init-permissions": ("Pod/gallery", "pod.yaml", [], []),
}
"""The workload, its file, the files that run with it, and those with its ConfigMaps and Secrets."""


def extra():
    """An ambassador at ports that nobody else has."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        admin = free.getsockname()[1]
    return part(
        "extra.yaml",
        "ambassador:\n  listeners: [{listen: '127.0.0.1:0', routes: [{to: nobody}]}]\n"
        f"  upstreams: {{nobody: '127.0.0.1:9'}}\nruntime: {{admin: ':{admin}'}}\n",
    )


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """The Secrets of the access details, made anew."""
    file = tmp_path_factory.mktemp("secrets") / "secrets.yaml"
    command = [sys.executable, EXAMPLES / "03-access-details" / "make_secrets.py"]
    file.write_text(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return file


@pytest.mark.parametrize("name", CASES)
async def test_it_runs_beside_all_that_is_there(name, tmp_path, secrets, network):
    """It gets ready, and so does everything else; the file can be had back to the byte."""
    workload, file, beside, given = CASES[name]
    source = (EXAMPLES / name / file).read_bytes().decode()
    injected = inject(source, [extra()], only=[workload])
    assert uninject(injected.source) == source
    manifest = tmp_path / file
    manifest.write_text(injected.source)
    folder = EXAMPLES / name
    files = [secrets if each == "secrets.yaml" else folder / each for each in given]
    async with LocalPod(*(folder / each for each in beside), manifest, extra=files, network=network) as pod:
        container = f"{workload.partition('/')[2]}/podpatterns-ambassador"
        await pod.wait_ready(container)
        if workload.startswith("Job/"):
            await pod.finished()
        else:
            await pod.wait_ready()
            # A first process whose handlers are not set up yet hears no SIGTERM.
            await pod.wait_line(f"{pod.runners[-1].spec.name}/{pod.runners[-1].spec.mains[0].name}", "")
