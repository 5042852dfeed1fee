"""A MutatingAdmissionPolicy: its expression, evaluated, makes the same pod as the injection itself."""

import json
import re

import celpy
import celpy.celtypes as cel
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.cli import main
from podpatterns.pod.inject.injection import ASK, MARK
from podpatterns.pod.inject.operations import Append, Prepend, Put, apply
from podpatterns.pod.inject.policy import expression, policy
from podpatterns.pod.lint import Linter

CONTAINER = {
    "name": "podpatterns-sidecar",
    "image": "podpatterns/sidecar:1",
    "restartPolicy": "Always",
    "args": ["run", "env:PODPATTERNS_CONFIG"],
    "env": [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "PODPATTERNS_CONFIG", "value": 'a: "b"\n  c: \\d é\n'},
    ],
    "ports": [{"name": "admin", "containerPort": 9801}],
    "startupProbe": {"httpGet": {"path": "/startupz", "port": 9801}, "periodSeconds": 1},
    "securityContext": {"runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}},
    "resources": {"limits": {"memory": "128Mi"}},
}
OPERATIONS = (
    Put(("metadata", "annotations"), {MARK: "podpatterns-sidecar"}),
    Prepend(("spec", "initContainers"), (CONTAINER, {"name": "second"})),
    Append(("spec", "containers"), ({"name": "last"},)),
    Prepend(("spec", "volumes"), ({"name": "state", "emptyDir": {"sizeLimit": "1Mi"}},)),
)
PODS = [
    {"metadata": {"annotations": {ASK: "x"}}, "spec": {"containers": [{"name": "web"}]}},
    {
        "metadata": {"annotations": {ASK: "x"}},
        "spec": {"containers": [{"name": "web"}], "initContainers": [{"name": "init"}], "volumes": [{"name": "v"}]},
    },
]


def evaluated(text, document):
    """The list that an expression makes of an object; every Object and JSONPatch is a mapping of its fields.

    The evaluator knows no types of Kubernetes: what a message is called is cut off, so that a map literal is left.
    """
    plain = re.sub(r"\b(?:Object(?:\.\w+)*|JSONPatch)\{([^{}\"]*?)\}", r"{\1}", text)
    for name in re.findall(r"\b(?:Object(?:\.\w+)*|JSONPatch)(?=\{)", text):
        plain = plain.replace(f"{name}{{", "{")
    plain = re.sub(r"([{,]\s*)(\w+): ", r'\1"\2": ', plain)
    environment = celpy.Environment()
    program = environment.program(environment.compile(plain))
    return json.loads(json.dumps(program.evaluate({"object": celpy.json_to_cel(document)}), cls=celpy.CELJSONEncoder))


@pytest.mark.parametrize("document", PODS)
def test_the_expression_makes_the_same_patch(document):
    """Evaluated on a pod, with and without what it adds to."""
    patched = json.loads(json.dumps(document))
    for operation in evaluated(expression(OPERATIONS), document):
        *path, last = [key.replace("~1", "/").replace("~0", "~") for key in operation["path"].split("/")[1:]]
        target = patched
        for key in path:
            target = target[key]
        if isinstance(target, list):
            target.insert(len(target) if last == "-" else int(last), operation["value"])
        else:
            target[last] = operation["value"]
    assert patched == apply(document, OPERATIONS)


@given(st.text())
def test_every_text_is_a_text(text):
    """Quotes, backslashes, line ends: an expression says the same text again."""
    (_, patch) = evaluated(expression([Prepend(("spec", "volumes"), ({"name": text},))]), {"spec": {}})
    assert patch["value"]["name"] == text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def test_it_fits_the_schema():
    """Of the first version of Kubernetes that has it."""
    documents = policy("podpatterns-x", ASK, OPERATIONS, "x")
    assert Linter(kubernetes="1.36").lint(yaml.safe_dump_all(documents)) == []
    assert isinstance(celpy.Environment().compile(documents[0]["spec"]["matchConditions"][0]["expression"]), object)


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [({ASK: "x"}, True), ({ASK: "y"}, False), ({}, False), ({ASK: "x", MARK: "y"}, False)],
)
def test_only_pods_that_ask(annotations, expected):
    """And those only once."""
    (condition,) = policy("podpatterns-x", ASK, OPERATIONS, "x")[0]["spec"]["matchConditions"]
    environment = celpy.Environment()
    program = environment.program(environment.compile(condition["expression"]))
    document = celpy.json_to_cel({"metadata": {"annotations": annotations}})
    assert program.evaluate({"object": document}) == cel.BoolType(expected)


def test_the_command(tmp_path):
    """From a Deployment: a policy for its pods, and a binding."""
    (tmp_path / "a.yaml").write_text(
        "ambassador:\n  listeners: [{listen: ':8000', routes: [{to: a}]}]\n  upstreams: {a: 'a:80'}\n"
    )
    (tmp_path / "d.yaml").write_text(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n"
        "spec:\n  template:\n    spec:\n      containers: [{name: a}]\n"
    )
    arguments = ["pod", "inject", "d.yaml", "--config", "a.yaml", "--output", "policy", "--profile", "mesh"]
    result = CliRunner().invoke(main, [str(tmp_path / each) if each.endswith(".yaml") else each for each in arguments])
    assert result.exit_code == 0, result.output
    found = list(yaml.safe_load_all(result.stdout))
    assert [each["kind"] for each in found] == ["MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"]
    assert "/spec/initContainers/0" in found[0]["spec"]["mutations"][0]["jsonPatch"]["expression"]
