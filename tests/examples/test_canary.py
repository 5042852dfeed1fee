"""The canary: real manifests and real processes; a good version goes all the way, a bad one is taken back."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from podpatterns.runtime import config
from tests.examples.free_ports import free_ports

EXAMPLE = Path(__file__).parents[2] / "examples/02-canary"
PORTS = ("8720", "8721", "8722", "8723", "9802")

pytestmark = pytest.mark.timeout(120)


def podpatterns(*arguments):
    return [sys.executable, "-m", "podpatterns", *map(str, arguments)]


@pytest.fixture
def folder(tmp_path):
    """The manifests with free ports, and in more of a hurry; what stands in them otherwise is as it is."""
    for name, port in zip(PORTS, ports := [str(port) for port in free_ports(len(PORTS))], strict=True):
        for file in ("pod.yaml", "versions.yaml", "app.yaml"):
            target = tmp_path / file
            text = target.read_text() if target.exists() else (EXAMPLE / file).read_text()
            target.write_text(re.sub(rf"\b{name}\b", port, text))
    pod = tmp_path / "pod.yaml"
    hurried = pod.read_text().replace("every: 3s", "every: 1s")
    pod.write_text(
        hurried.replace(
            "env:\n    - {name: SERVICE", 'env:\n    - {name: PER_SECOND, value: "6"}\n    - {name: SERVICE'
        )
    )
    assert pod.read_text().count("PER_SECOND") == hurried.count("every: 1s") == 1
    return tmp_path, f"127.0.0.1:{ports[-1]}"


@pytest.fixture
def run(folder, pod_run):
    files = folder[0]
    return pod_run(files / "versions.yaml", files / "pod.yaml", "--with", files / "app.yaml")


@pytest.mark.parametrize("network", ["pod"], indirect=True)
def test_the_good_version_gets_everything_and_the_bad_one_nothing(run, folder):
    """The bad one is taken back on its second step, with the reason; shoppers keep the version of their cart."""
    back = json.loads(run.wait_for("ambassador.ramp.moved").partition("│")[2])
    assert (back["move"], back["version"], back["step"], back["percent"]) == ("back", "hasty", "2/4", 0)
    assert re.fullmatch(r"[0-9.]+% of \d+ requests succeeded, 99% must", back["reason"])
    run.wait_for(r"/prices next +100%.*/search hasty +0%.*of 40 shoppers")
    command = podpatterns("ambassador", "status", "--admin", folder[1], "--output", "json")
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    prices, search, cart = next(iter(json.loads(done.stdout)["listeners"].values()))["routes"]
    assert {name: each["weight"] for name, each in prices["versions"].items()} == {"stable": 0, "next": 1}
    assert {name: each["weight"] for name, each in search["versions"].items()} == {"stable": 1, "hasty": 0}
    assert prices["versions"]["next"]["success"] == search["versions"]["stable"]["success"] == 1
    assert 1 <= search["versions"]["hasty"]["failures"] < 60
    # 40 shoppers were drawn, once each; 4.5 standard deviations are 12.
    assert abs(cart["versions"]["next"]["share_since_change"] - 0.25) < 0.32
    assert run.end() == 0, "\n".join(run.lines)
    run.wait_for("40 of 40 shoppers have seen one version of their cart, and no other")


def test_the_embedded_programs_are_the_files():
    """`make examples` has been run after the last change of `app/`."""
    (document,) = yaml.safe_load_all((EXAMPLE / "app.yaml").read_text())
    assert document["data"] == {path.name: path.read_text() for path in (EXAMPLE / "app").iterdir() if path.is_file()}


CONFIGS = next(each for each in yaml.safe_load_all((EXAMPLE / "pod.yaml").read_text()) if each["kind"] == "ConfigMap")[
    "data"
]


@pytest.mark.parametrize("name", CONFIGS)
def test_each_configuration_is_valid(name):
    """Every variable that it uses is set in the manifest, and nothing in it is unknown."""
    addresses = {"STABLE": "127.0.0.1:8721", "NEXT": "127.0.0.1:8722", "HASTY": "127.0.0.1:8723"}
    loaded = config.loads([(name, CONFIGS[name])], addresses)
    assert [*loaded.patterns] == [name.removesuffix(".yaml")]
