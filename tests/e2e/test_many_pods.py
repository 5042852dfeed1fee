"""A hundred pods, one after the other: what one has taken, the next one finds given back."""

import os
from pathlib import Path

import pytest

from podpatterns.pod import LocalPod

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

STAY = "trap 'exit 0' TERM; echo up; sleep 100 & wait"


def held():
    """What this process and its machine hold: descriptors, our children, and mounts."""
    children = [
        entry.name
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and f"\nPPid:\t{os.getpid()}\n" in _status(entry)
    ]
    return len(list(Path("/proc/self/fd").iterdir())), children, Path("/proc/mounts").read_text()


def _status(entry):
    try:
        return (entry / "status").read_text()
    except OSError:
        return ""


@pytest.mark.parametrize(("network", "count"), [("pod", 100), ("host", 20)])
async def test_a_hundred_pods_in_a_row_leave_nothing(network, count, tmp_path, monkeypatch):
    """No descriptor, process, folder or mount more after the last than after the first."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    volume = {"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
    main = {"name": "main", "command": ["sh", "-c", STAY], "volumeMounts": [{"name": "v", "mountPath": "/opt/v"}]}
    document = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"},
        "spec": {"containers": [main], "volumes": [volume], "terminationGracePeriodSeconds": 5},
    }  # fmt: skip

    async def once():
        async with LocalPod(document, network=network) as local:
            await local.wait_line("main", "up")
        assert all(verdict.ok for verdict in local.verdicts())

    await once()
    before = held()
    for _ in range(count - 1):
        await once()
    assert held() == before
    assert list(tmp_path.iterdir()) == []
