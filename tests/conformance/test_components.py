"""What every component promises, own and third-party: checked over all that are registered, without a list."""

import inspect
import re

import msgspec
import pytest

from podpatterns.errors import ConfigError
from podpatterns.runtime.catalog import everything, nested, slots
from podpatterns.runtime.components import load, load_all
from podpatterns.runtime.decode import decode
from podpatterns.runtime.json_schema import default_of
from podpatterns.runtime.nodes import MapNode, Mark, from_python, parse
from podpatterns.runtime.schema import component_type, field_docs, to_builtins

COMPONENTS = [
    pytest.param(slot, cls, id=f"{slot.noun}-{component_type(cls)}") for slot in slots() for cls in load_all(slot)
]
CONFIGS = [pytest.param(cls, id=name) for name, cls in everything().items()]


def test_every_pattern_has_its_slots():
    """The shapes of the design: the packages that hold components."""
    packages = {slot.package.removeprefix("podpatterns.") for slot in slots()}
    assert packages >= {
        "sidecar.inputs", "sidecar.transforms", "sidecar.outputs",
        "ambassador.listeners", "ambassador.upstreams",
        "adapter.inputs", "adapter.transforms", "adapter.outputs", "adapter.logs", "adapter.checks",
        "init.steps",
    }  # fmt: skip


@pytest.mark.parametrize(("slot", "cls"), COMPONENTS)
def test_the_type_is_the_name_of_the_file(slot, cls):
    """A newcomer who reads `type: tail` knows which file to open."""
    if cls.__module__.startswith(slot.package):
        assert cls.__module__ == f"{slot.package}.{component_type(cls)}"
    assert load(slot, component_type(cls)) is cls


@pytest.mark.parametrize(("slot", "cls"), COMPONENTS)
def test_the_example_is_valid(slot, cls):
    """What the reference shows can be used as it stands."""
    (node,) = parse(inspect.cleandoc(cls.EXAMPLE))
    assert type(decode(node, slot.base, env={})) is cls


@pytest.mark.parametrize(("slot", "cls"), COMPONENTS)
def test_an_unknown_key_is_refused(slot, cls):
    """A typo never passes for a default."""
    (node,) = parse(inspect.cleandoc(cls.EXAMPLE))
    assert isinstance(node, MapNode)
    wrong = MapNode(
        node.mark,
        {**node.entries, "no_such_key": from_python(1)},
        {**node.keys, "no_such_key": Mark("f.yaml", 7, 1)},
    )
    with pytest.raises(ConfigError, match=r'f\.yaml:7:1: no_such_key: unknown key "no_such_key"'):
        decode(wrong, slot.base, path="")


@pytest.mark.parametrize("cls", CONFIGS)
def test_everything_is_documented(cls):
    """A docstring for each class, and a text under each field that says more than the field's name."""
    for struct in (cls, *nested(cls)):
        assert re.search(r"\w{3}", inspect.getdoc(struct) or ""), struct.__name__
        missing = [
            field.name
            for field in msgspec.structs.fields(struct)
            if len(field_docs(struct).get(field.name, "").split()) < 3
        ]
        assert not missing, f"{struct.__name__}: {missing}"


@pytest.mark.parametrize("cls", CONFIGS)
def test_defaults_are_valid(cls):
    """What is not written down would be accepted if it were."""
    for struct in (cls, *nested(cls)):
        for field in msgspec.structs.fields(struct):
            default = default_of(field)
            if default is not msgspec.NODEFAULT and default is not None:
                to_builtins(default)
