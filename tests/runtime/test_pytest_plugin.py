"""The pytest plugin, as an application's tests meet it."""

import os
import subprocess
import sys

WITHOUT = """
import sys
sys.modules["pytest_asyncio"] = None
import pytest
sys.exit(pytest.main(["-q", "-p", "podpatterns.testing.plugin", "test_it.py"]))
"""


def test_without_pytest_asyncio_the_fixtures_say_what_they_need(tmp_path):
    """Other tests run; one that asks for a fixture of ours fails with one line, and no traceback."""
    tests = "def test_other(): pass\ndef test_pod(local_pod): pass\nasync def test_server(fake_server): pass\n"
    (tmp_path / "test_it.py").write_text(tests)
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        cwd=tmp_path, env=environment, check=False, timeout=60, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "local_pod needs pytest-asyncio: pip install pytest-asyncio" in done.stdout
    assert "fake_server needs pytest-asyncio" in done.stdout
    assert "1 passed" in done.stdout
    assert "Traceback" not in done.stdout
