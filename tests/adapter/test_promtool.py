"""What Prometheus' own checker says about our page."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.adapter.runtime import Adapter
from podpatterns.adapter.samples import SAMPLE
from podpatterns.runtime.units import Address, Duration


@pytest.mark.e2e
@pytest.mark.holds("promtool")
async def test_promtool_accepts_the_page() -> None:
    """`promtool check metrics` (Debian's `prometheus`) finds nothing to say, our own metrics included."""
    output = PrometheusConfig(listen=Address("127.0.0.1:0"), final_scrape=Duration("0s"))
    async with Adapter(
        AdapterConfig(inputs=[StatsdConfig(listen=Address("127.0.0.1:0"))], outputs=[output])
    ) as adapter:
        adapter.feed(SAMPLE.encode())
        page = await adapter.page()
    # `make e2e` puts the program beside this Python; a test that is run by itself finds it there as well.
    promtool = shutil.which("promtool", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    assert promtool, "there is no promtool; tests/e2e/setup.sh takes it out of Debian's package"
    checked = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, check=False)  # noqa: ASYNC221
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
