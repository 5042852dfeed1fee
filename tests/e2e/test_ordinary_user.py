"""The laws of namespaces, held by a user without rights as well: the same tests, in a user namespace without any."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def as_a_user(*command):
    """The output of a command whose user has no capability, and a number other than root's."""
    words = ["unshare", "--user", "--map-user=1000", "--map-group=1000", *map(str, command)]
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT, timeout=170)


def test_that_user_has_no_rights():
    """Otherwise the test below would show nothing."""
    done = as_a_user("sh", "-c", "id -u; grep CapEff /proc/self/status; unshare -n true")
    assert done.stdout.split() == ["1000", "CapEff:", "0000000000000000"]
    assert "not permitted" in done.stderr


def test_an_ordinary_user_holds_the_laws_of_namespaces(tmp_path):
    """Every one of them: none is skipped."""
    tests = [ROOT / "tests/pod" / name for name in ("test_pod_namespaces.py", "test_pod_volumes.py")]
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'inner'}", "-rs"]
    done = as_a_user(sys.executable, "-m", "pytest", *options, *tests)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    assert "skipped" not in done.stdout
    assert os.getuid() == 0
