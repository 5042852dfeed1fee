"""What the end-to-end tests share: the images, built once."""

import pytest

from tests.e2e.podman import ROOT, run


@pytest.fixture(scope="session")
def images():
    """Our four images, built with podman from this tree."""
    run(ROOT / "containers/build.sh", "podman")
