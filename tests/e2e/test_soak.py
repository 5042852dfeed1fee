"""A minute of what `make soak` does for an hour."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ambassador.strict.soak import soak

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]


async def test_a_minute(tmp_path: Path) -> None:
    """While services are killed: no idempotent request fails, none of the others happens twice, memory stays flat."""
    report = await soak(60.0, tmp_path)
    assert not report.wrong, str(report)
    assert report.requests > 10_000
