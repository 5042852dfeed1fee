"""The storefront's manifests say what its files say, and every configuration in them is valid."""

from pathlib import Path

import pytest
import yaml

from podpatterns.runtime import config

FOLDER = Path(__file__).parents[2] / "examples/01-storefront"
ENVIRONMENT = {
    "POD_NAME": "storefront", "LOGS": "/logs", "STORE": "/store", "SITE": "/site", "DEPOT": "127.0.0.1:9418",
    "CATALOG_STABLE": "127.0.0.1:8781", "CATALOG_TEST": "127.0.0.1:8782",
}  # fmt: skip


def documents(name):
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def test_the_embedded_programs_are_the_files():
    """`make examples` has been run after the last change of `app/` or `site/`."""
    for document, folder in zip(documents("app.yaml"), ("app", "site"), strict=True):
        files = {path.name: path.read_text() for path in (FOLDER / folder).iterdir() if path.is_file()}
        assert document["data"] == files


CONFIGS = next(each for each in documents("pod.yaml") if each["kind"] == "ConfigMap")["data"]


@pytest.mark.parametrize("name", CONFIGS)
def test_each_configuration_is_valid(name):
    """Every variable that it uses is set in the manifest, and nothing in it is unknown."""
    loaded = config.loads([(name, CONFIGS[name])], ENVIRONMENT)
    assert [*loaded.patterns] == [name.removesuffix(".yaml")]
