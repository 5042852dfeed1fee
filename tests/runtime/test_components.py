"""Finding components: own ones by their files, others' by entry points."""

import sys
import types
from importlib.metadata import EntryPoint

import pytest

from podpatterns.errors import ConfigError
from podpatterns.runtime import components
from podpatterns.runtime.components import UnknownComponent, known, load, slot_of
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.sidecar.transforms import Transform, TransformConfig

SLOT = slot_of(TransformConfig)


class ShoutConfig(TransformConfig, frozen=True, kw_only=True):
    """A third party's transform."""

    marks: int = 1
    """Exclamation marks."""

    def build(self):
        return Transform


@pytest.fixture
def installed(monkeypatch):
    """Another package is installed that brings `shout`."""
    module = types.ModuleType("shop_shout")
    module.ShoutConfig = ShoutConfig
    monkeypatch.setitem(sys.modules, "shop_shout", module)
    point = EntryPoint("shout", "shop_shout:ShoutConfig", SLOT.package)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point] if group == SLOT.package else [])
    known.cache_clear()
    components._plugins.cache_clear()
    yield
    known.cache_clear()
    components._plugins.cache_clear()


def test_a_third_partys_component_is_one_of_many(installed):
    """Found by its type, decoded and checked like our own."""
    assert "shout" in known(SLOT.package)
    (node,) = parse("{type: shout, marks: 3}")
    assert decode(node, TransformConfig) == ShoutConfig(marks=3)
    (node,) = parse("{type: shout, mraks: 3}")
    with pytest.raises(ConfigError, match='did you mean "marks"'):
        decode(node, TransformConfig)


def test_only_what_is_named_is_imported():
    """Loading one component leaves the others alone: memory counts in every pod."""
    import subprocess

    code = (
        "import sys; from podpatterns.runtime.components import load, slot_of;"
        "from podpatterns.sidecar.outputs import OutputConfig;"
        "load(slot_of(OutputConfig), 'stdout'); print('podpatterns.sidecar.outputs.sqlite' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_unknown_type_lists_what_there_is():
    """The error carries the choice."""
    with pytest.raises(UnknownComponent) as caught:
        load(SLOT, "shuot")
    assert "python" in caught.value.known
