"""The table of fields against what the API server publishes: nothing of a manifest is unknown to a local run."""

import json
import re
from importlib import resources

import pytest

from podpatterns.pod.fields import KINDS, Shape
from podpatterns.pod.lint.schema import versions

FOLDER = resources.files("kubernetes_validate").joinpath(f"kubernetes-json-schema/v{versions()[-1]}.0-local-strict")
SERVERS = re.compile(r"(metadata|status)\..*|spec\.template\.metadata\..*")
"""What only servers write, or what stands under metadata, has no shapes that are worth a walk."""


def read(name):
    return json.loads(FOLDER.joinpath(name).read_text("utf-8"))


@pytest.fixture(scope="module")
def definitions():
    return read("_definitions.json")["$defs"]


def schema_of(kind):
    version, _ = KINDS[kind]
    group, _, release = version.rpartition("/")
    return read("-".join(filter(None, (kind.lower(), group.partition(".")[0], release))) + ".json")


def published(schema, definitions, known, prefix=""):
    """Every path of a schema, as far down as the table goes."""
    for name, below in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        yield path
        field = known.get(path)
        if field is None or field.shape is Shape.ANY or SERVERS.fullmatch(f"{path}."):
            continue
        here = path + "."
        inner = below
        if "items" in inner:
            inner, here = inner["items"], f"{path}[]."
        if "$ref" in inner:
            inner = definitions[inner["$ref"].rpartition("/")[2]]
        yield from published(inner, definitions, known, here)


@pytest.mark.parametrize("kind", KINDS)
def test_every_published_field_is_in_the_table(definitions, kind):
    """Of the newest version of Kubernetes that there is a schema for."""
    _, known = KINDS[kind]
    missing = [path for path in published(schema_of(kind), definitions, known) if path not in known]
    assert missing == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_the_table_was_published_once(definitions, kind):
    """A misspelt path would never be seen; fields that newer versions have dropped are in the oldest one's schema."""
    _, known = KINDS[kind]
    there = set(published(schema_of(kind), definitions, known))
    dropped = {"metadata.selfLink", "metadata.clusterName", "metadata.initializers"}
    unknown = [path for path in known if path not in there and not SERVERS.fullmatch(path) and path not in dropped]
    assert unknown == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_enforced_says_what_that_means(kind):
    """A note for each field that is emulated or reported."""
    _, known = KINDS[kind]
    assert [path for path, field in known.items() if field.how.value != "enforced" and not field.note] == []
