"""Manifests that cannot be run: file, line and a remedy; exit 2; nothing is left running, mounted or on disk."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: shop}
spec:
  containers:
  - name: app
    command: [sleep, "60"]
"""

CASES = {
    "an unknown kind": (POD.replace("kind: Pod", "kind: Pood"), r":2:7: unknown kind .*did you mean \"Pod\"\?"),
    "invalid YAML": (POD.replace("{name: shop}", "{name: shop"), r":4:5: invalid YAML"),
    "a duplicate key": (POD + "    command: [true]\n", r":8:5: duplicate key \"command\"; it stands in line 7 already"),
    "metadata that is no mapping": (POD.replace("{name: shop}", "shop"), r":3:11: .*did you mean \"metadata: {name"),
    "two pods of one name": (POD + "---\n" + POD, r":11:18: .*name of another Pod already, in line 3"),
    "a ConfigMap that is not there": (
        POD + "    envFrom: [{configMapRef: {name: nowhere}}]\n",
        r":8:15: .*no ConfigMap \"nowhere\".*--with.*on a cluster the pod would wait for it for ever",
    ),
    "an image that does not say what to start": (
        POD.replace('command: [sleep, "60"]', "image: example.org/shop:1"),
        r":7:12: .*add command:",
    ),
    "a mount over everything": (
        POD.replace("spec:\n", "spec:\n  volumes: [{name: v, emptyDir: {}}]\n")
        + "    volumeMounts: [{name: v, mountPath: /}]\n",
        r":9:41: .*below \"/\"",
    ),
    "a mount of a volume that is not there": (
        POD + "    volumeMounts: [{name: nowhere, mountPath: /srv}]\n",
        r":8:\d+: .*nowhere",
    ),
    "an annotation that publishes nothing there could be": (
        POD.replace("{name: shop}", '{name: shop, annotations: {podpatterns.dev/publish: "eighty"}}'),
        r': pod shop: the annotation podpatterns.dev/publish holds "eighty": must be \[\[HOST:\]PORT:\]',
    ),
    "nothing": ("", r": holds no Pod, Job or Deployment to run; give a manifest with one"),
}


def left_by(session):
    """The processes of a session that is over."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getsid(int(entry.name)) == session:
                found.append(entry.name)
        except ProcessLookupError:
            continue
    return found


def refused(folder, manifest, *options):
    """What `pod run` says to a manifest that it must refuse, once nothing is seen to be left of it."""
    file, temporary = folder / "pod.yaml", folder / "tmp"
    file.write_text(manifest)
    temporary.mkdir()
    mounts = Path("/proc/self/mounts").read_text()
    command = [sys.executable, "-m", "podpatterns", "pod", "run", file, *options]
    process = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(temporary), "XDG_RUNTIME_DIR": str(temporary)},
    )
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    assert left_by(process.pid) == []
    assert [each.name for each in temporary.rglob("*") if not each.is_dir()] == []
    assert str(folder) not in Path("/proc/self/mounts").read_text().replace(mounts, "")
    return errors


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_with_its_place(case, tmp_path):
    """Before anything is started."""
    manifest, said = CASES[case]
    errors = refused(tmp_path, manifest)
    assert re.search(re.escape(str(tmp_path / "pod.yaml")) + said, errors), errors
    assert "Traceback" not in errors


def test_a_port_of_this_machine_that_is_taken(tmp_path):
    """On the machine's network a container cannot have it, and neither can what is published."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        manifest = POD + f"    ports: [{{containerPort: {port}}}]\n"
        (tmp_path / "host").mkdir()
        errors = refused(tmp_path / "host", manifest, "--network", "host")
        assert re.search(rf":8:\d+: port {port} of container app is taken by another program", errors), errors
        (tmp_path / "published").mkdir()
        errors = refused(tmp_path / "published", manifest, "--publish", f"{port}:{port}")
        assert f"port {port}" in errors
        assert "taken by another program; end the process that has it (ss -lntup shows it), or choose" in errors
