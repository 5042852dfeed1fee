"""What the end-to-end tests share: the images, built once."""

import pytest

from tests.e2e.podman import ROOT, run, servers


@pytest.fixture(scope="session")
def images():
    """Our four images, built with podman from this tree."""
    run(ROOT / "containers/build.sh", "podman")


@pytest.fixture(scope="session")
def server_image(tmp_path_factory):
    """An image with the servers of this machine."""
    servers(tmp_path_factory.mktemp("servers"), "redis-server", "prometheus")
