"""Manifests in real containers: podman plays them in a network namespace of their own.

There the pods find each other on localhost, and no port of the machine is in the way. podman 4.3 does not know all of
Kubernetes: `classic` says what is done about that.
"""

import base64
import contextlib
import copy
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml

from podpatterns.pod.inject.injection import Options, part
from podpatterns.pod.inject.manifest import inject
from podpatterns.pod.inject.outline import Dumper

ROOT = Path(__file__).parents[2]
NAMESPACE = "podpatterns-e2e"

STAND_INS = {
    "docker.io/alpine/git": "podpatterns/init:dev",
    "docker.io/library/busybox": "docker.io/library/python:3.11-slim-bookworm",
    "docker.io/library/redis:7": "podpatterns/e2e-servers",
    "docker.io/prom/prometheus:v2.53.0": "podpatterns/e2e-servers",
}
"""Images that have what others have, where there is no registry to pull those from."""


EXTRA = """\
ambassador:
  listeners: [{listen: "127.0.0.1:7999", routes: [{to: nobody}]}]
  upstreams: {nobody: "127.0.0.1:9"}
runtime: {admin: ":7998"}
"""


def run(*command, inside=False, check=True, cwd=None):
    """The output of a command; `inside` the network namespace of the pods."""
    prefix = ["nsenter", f"--net=/run/netns/{NAMESPACE}"] if inside else []
    words = [*prefix, *map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, cwd=cwd)
    assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def classic(*texts):
    """The manifests as podman 4.3 can play them."""
    # There are no Services; all pods are on one network, where each finds the others at its own localhost.
    local = [re.sub(r"\$\([A-Z0-9_]+_SERVICE_HOST\)", "127.0.0.1", text) for text in texts]
    documents = [each for text in local for each in yaml.safe_load_all(text) if each and each["kind"] != "Service"]
    played = [_document(part) for each in documents for part in _in_order(each)]
    return yaml.dump_all(played, Dumper=Dumper, sort_keys=False)


def _in_order(document):
    """Sidecars that an init container comes after, in a pod of their own, which is there when the init container runs.

    All pods of a test are on one localhost, and share volumes of one name.
    """
    inits = document.get("spec", {}).get("initContainers", []) if document["kind"] == "Pod" else []
    last = max((at for at, each in enumerate(inits) if "restartPolicy" not in each), default=0)
    early = [each for each in inits[:last] if each.get("restartPolicy") == "Always"]
    if early:
        name = f"{document['metadata']['name']}-sidecars"
        spec = {**document["spec"], "initContainers": [], "containers": early}
        yield copy.deepcopy({**document, "metadata": {"name": name}, "spec": spec})
        document["spec"]["initContainers"] = [each for each in inits if each not in early]
    yield document


def _document(document):
    if document["kind"] == "Secret":
        # Its Secret volumes are not what Kubernetes' are; a ConfigMap's files are the same.
        plain = {key: base64.b64decode(value).decode() for key, value in document.get("data", {}).items()}
        return {
            **document,
            "kind": "ConfigMap",
            "data": {**plain, **document.get("stringData", {})},
            "stringData": None,
        }
    spec = document.get("spec", {}).get("template", document).get("spec")
    if document["kind"] == "Job":
        # It knows no Jobs; what a Job runs is a Pod.
        pod = {**document["spec"]["template"], "apiVersion": "v1", "kind": "Pod"}
        return _document({**pod, "metadata": {"name": document["metadata"]["name"]}})
    if document["kind"] not in {"Pod", "Deployment"} or spec is None:
        return document
    inits = spec.pop("initContainers", [])
    sidecars = [each for each in inits if each.get("restartPolicy") == "Always"]
    spec["initContainers"] = [each for each in inits if each not in sidecars]
    # Native sidecars among the containers, before the main ones.
    spec["containers"] = sidecars + spec["containers"]
    # podman would start an init container again and again under `Always`, and takes no annotation of any length.
    spec["restartPolicy"] = "OnFailure"
    document["metadata"].pop("annotations", None)
    for container in spec["initContainers"] + spec["containers"]:
        container["image"] = STAND_INS.get(container["image"], container["image"])
        # Probes by port name and published ports need podman's own network.
        for field in ("restartPolicy", "startupProbe", "readinessProbe", "livenessProbe", "ports"):
            container.pop(field, None)
    named = {}
    for volume in spec.get("volumes", []):
        if "secret" in volume:
            volume["configMap"] = {"name": volume.pop("secret")["secretName"]}
        if "configMap" in volume:
            # podman knows a volume by its name alone, and two pods would write theirs over each other.
            own = f"{document['metadata']['name']}-{volume['name']}"
            named[volume["name"]], volume["name"] = own, own
    for container in spec["initContainers"] + spec["containers"]:
        for mount in container.get("volumeMounts", []):
            mount["name"] = named.get(mount["name"], mount["name"])
    return document


def servers(folder, *programs):
    """Build `podpatterns/e2e-servers`: programs of this machine with the libraries that they need."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for name in ("bin", "lib"):
        (folder / name).mkdir()
    for name in programs:
        program = shutil.which(name, path=path)
        assert program, f"{name} is not installed; tests/e2e/setup.sh does that"
        shutil.copy(program, folder / "bin")
        for library in re.findall(r"=> (/\S+)", run("ldd", program, check=False)):
            if not re.match(r"(libc|libm|libdl|librt|libpthread|ld-linux)\b", Path(library).name):
                shutil.copy(library, folder / "lib")
    base = "docker.io/library/python:3.11-slim-bookworm"
    text = f"FROM {base}\nCOPY bin /usr/local/bin/\nCOPY lib /usr/local/lib/\nRUN ldconfig\n"
    (folder / "Containerfile").write_text(text)
    run("podman", "build", "--tag", "podpatterns/e2e-servers", folder)


def injected(text, workload):
    """With one more container of ours, in the classic form."""
    options = Options(classic=True, pull="IfNotPresent")
    return inject(text, [part("extra.yaml", EXTRA, options)], only=[workload]).source


def clean():
    """Remove every pod, volume and namespace of a test."""
    run("podman", "pod", "rm", "--force", "--all", check=False)
    run("podman", "volume", "prune", "--force", check=False)
    run("ip", "netns", "del", NAMESPACE, check=False)


@contextlib.contextmanager
def played(folder, text):
    """The manifests, running; everything is removed at the end."""
    assert shutil.which("podman"), "podman is not installed"
    clean()
    run("ip", "netns", "add", NAMESPACE)
    run("ip", "-n", NAMESPACE, "link", "set", "lo", "up")
    manifest = Path(folder) / "manifest.yaml"
    manifest.write_text(text)
    try:
        try:
            run("podman", "play", "kube", "--network", "host", manifest, inside=True)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{said()}") from None
        yield
    finally:
        clean()


def fetch(url):
    """A page, as a container of the pods sees it; empty if there is none."""
    return run("curl", "--silent", "--fail", url, inside=True, check=False)


def status(port):
    """The closing summary of the pattern whose admin endpoint listens there; an empty one if it does not answer."""
    with contextlib.suppress(ValueError):
        return next(iter(json.loads(fetch(f"http://localhost:{port}/status"))["patterns"].values()))
    return {"facts": {}, "checks": []}


def wait_for(what, true, seconds=60):
    """Look again until it holds; the containers offer no event to wait for."""
    end = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > end:
            raise AssertionError(f"{what} has not come within {seconds} s\n{said()}")
        time.sleep(0.2)
    return found


def said():
    """The end of what every container has printed, for a test that has failed."""
    names = run("podman", "ps", "--all", "--format", "{{.Names}}").split()
    return "\n".join(f"--- {name}\n{logs(name)[-2000:]}" for name in names)


def logs(container):
    """What a container has printed, on both streams."""
    done = subprocess.run(["podman", "logs", container], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def volume(name):
    """The folder of a volume."""
    return Path(run("podman", "volume", "inspect", name, "--format", "{{.Mountpoint}}").strip())


def the_injected_one_runs():
    """Until what was injected is ready."""
    return wait_for("what was injected", lambda: fetch("http://localhost:7998/readyz"))
