"""The JSON Schema against the decoder, which is the authority: an editor must not contradict `podpatterns check`."""

import copy
import inspect

import jsonschema
import pytest
import yaml

from podpatterns.errors import ConfigError
from podpatterns.runtime import config
from podpatterns.runtime.catalog import slots
from podpatterns.runtime.components import load_all
from podpatterns.runtime.json_schema import of_document
from podpatterns.runtime.schema import component_type

SCHEMA = of_document({name: config.pattern_class(name) for name in config.PATTERNS}, config.RuntimeConfig)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

GOOD = {
    "sidecar": "sidecar: {inputs: [{type: tail, paths: [/x]}], outputs: [{type: sqlite, path: /y}]}",
    "ambassador": "ambassador: {listeners: [{listen: ':1', routes: [{split: {a: 1}}]}], upstreams: {a: 'h:1'}}",
    "adapter": "adapter: {inputs: [{type: statsd}], outputs: [{type: prometheus}]}",
    "init": "init: {steps: [{type: wait, until: [{file: /x}]}]}",
    "runtime": "adapter: {inputs: [{type: statsd}], outputs: [{type: prometheus}]}\nruntime: {admin: off, grace: 5s}",
    "variables": "init: {steps: [{type: wait, until: [{file: '${HOME}'}]}], deadline: '${HOME:-1m}'}",
}

BAD = {
    "no such pattern": "sidcar: {}",
    "unknown key": "runtime: {grace: 5s, gracee: 5s}\n" + GOOD["adapter"],
    "wrong unit": "runtime: {grace: 5}\n" + GOOD["adapter"],
    "unknown level": "runtime: {log_level: loud}\n" + GOOD["adapter"],
    "required key": "sidecar: {inputs: [{type: tail, paths: [/x]}]}",
    "unknown component": "adapter: {inputs: [{type: statds}], outputs: [{type: prometheus}]}",
    "not a list": "adapter: {inputs: {type: statsd}, outputs: [{type: prometheus}]}",
}


def test_the_schema_is_one():
    """It is valid JSON Schema 2020-12 itself."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_what_the_decoder_takes_the_schema_takes(text):
    """A valid file has no red lines in an editor."""
    config.loads([("f.yaml", text)], {"HOME": "/root"} if "deadline" not in text else {"HOME": "1m"})
    VALIDATOR.validate(yaml.safe_load(text.replace("admin: off", "admin: 'off'")))


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_the_schema_refuses_the_decoder_refuses(text):
    """A red line in an editor is a problem in `podpatterns check`, too."""
    assert not VALIDATOR.is_valid(yaml.safe_load(text))
    with pytest.raises(ConfigError):
        config.loads([("f.yaml", text)], {})


COMPONENTS = [pytest.param(cls, id=f"{slot.noun}-{component_type(cls)}") for slot in slots() for cls in load_all(slot)]


@pytest.mark.parametrize("cls", COMPONENTS)
def test_each_example_fits_its_own_schema(cls):
    """And does not any more with a key that nobody knows."""
    name = f"{cls.__module__}.{cls.__qualname__}"
    validator = jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]})
    example = yaml.safe_load(inspect.cleandoc(cls.EXAMPLE))
    validator.validate(example)
    wrong = copy.deepcopy(example)
    wrong["no_such_key"] = 1
    assert not validator.is_valid(wrong)
