"""Lint: every planted fault is found, and nothing else is."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.cli import main
from podpatterns.pod.lint import Linter, rules
from podpatterns.pod.lint.finding import Remove
from podpatterns.pod.lint.fixing import fix
from podpatterns.pod.lint.linter import YAML
from podpatterns.runtime.nodes import parse

PLANTED = sorted((Path(__file__).parent / "planted").glob("*.yaml"))
EXAMPLES = sorted(Path("examples").glob("**/*.yaml"))
FAULT = re.compile(r"# fault: ([a-z, -]+)$")


def planted(text):
    """(line, rule) of every fault that a comment announces."""
    return [
        (number, rule)
        for number, line in enumerate(text.splitlines(), start=1)
        if (match := FAULT.search(line))
        for rule in match[1].split(", ")
    ]


@pytest.fixture(scope="module")
def linter():
    return Linter(kubernetes="latest")


@pytest.mark.parametrize("path", PLANTED, ids=lambda path: path.stem)
def test_planted_faults_are_found_and_nothing_else(path, linter):
    """Each comment `# fault: rule` is a finding of that rule in that line; there are no others."""
    text = path.read_text("utf-8")
    found = [(finding.mark.line, finding.rule) for finding in linter.lint(text, str(path))]
    assert sorted(found) == sorted(planted(text))


def test_every_rule_has_a_planted_fault():
    """No rule is there that cannot find anything."""
    shown = {rule for path in PLANTED for _, rule in planted(path.read_text("utf-8"))}
    assert shown == {rule.name for rule in rules()} | {"configuration", "schema"}


def test_rules_explain_themselves():
    """Names are unique; a law and a reason stand beside each."""
    assert len({rule.name for rule in rules()}) == len(rules())
    for rule in rules():
        assert rule.check.__doc__.strip().endswith(".")
        assert rule.reason.endswith(".")


@pytest.mark.parametrize("path", EXAMPLES, ids=str)
def test_the_examples_are_sound(path, linter):
    """What we tell others holds for our own manifests."""
    assert [str(each) for each in linter.lint(path.read_text("utf-8"), str(path))] == []


CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("  sidecar.yaml: |\n    sidecar: {inputz: []}\n", ["6:14", "6:15"]),
        ("  sidecar.yaml: |-\n\n    sidecar:\n    \t- x\n", ["8:5"]),
        ('  sidecar.yaml: "sidecar: {inputs: [], outputs: [{type: stdout}]}"\n', ["5:17"]),
        ("  sidecar.yaml: >\n    sidecar: 3\n", ["5:17"]),
        ("  adapter.yaml: |\n    ---\n    adapter: {}\n", ["7:14"]),
        ("  app.yaml: |\n    sidecar: 3\n", []),
        ("  init.yaml: |\n    name: of somebody else\n", []),
        ("  sidecar.yaml: 3\n", None),
    ],
)
def test_a_configuration_in_a_config_map_is_checked_at_its_lines(data, said):
    """Of a block each line is known, else the value; only under the names that our images look for."""
    found = Linter(only=["configuration"]).lint(CONFIG_MAP + data, "f.yaml")
    if said is not None:
        assert [f"{each.mark.line}:{each.mark.column}" for each in found] == said
    assert all(each.rule == "configuration" for each in found)


def test_what_only_the_container_knows_is_no_finding():
    """Its variables, wherever they stand, and the functions in its image."""
    text = CONFIG_MAP + (
        "  sidecar.yaml: |\n"
        "    sidecar:\n"
        "      inputs: [{type: syslog, listen: '${HOST}:${PORT}'}]\n"
        "      transforms: [{type: python, function: 'shop.logs:add_team'}]\n"
        "      outputs: [{type: stdout}]\n"
        "      fields: {pod: '${POD_NAME}'}\n"
        "    runtime: {admin: ':${ADMIN}', grace: '${GRACE}'}\n"
    )
    assert Linter(kubernetes=None).lint(text, "f.yaml") == []
    assert Linter(ignore=["configuration"]).lint(CONFIG_MAP + "  init.yaml: 'init: 3'\n", "f.yaml") == []


@pytest.mark.parametrize("path", PLANTED, ids=lambda path: path.stem)
def test_fixing_mends_what_it_says_and_keeps_the_rest(path, linter):
    """Afterwards none of the mended faults is there, no new one, and every untouched line is as it was."""
    text = path.read_text("utf-8")
    before = linter.lint(text)
    mended, done = fix(text, [finding.edit for finding in before if finding.edit is not None])
    after = linter.lint(mended)
    assert len(after) == len(before) - done
    assert {finding.rule for finding in after} <= {finding.rule for finding in before}
    lines = text.splitlines()
    assert all(line in lines for line in mended.splitlines() if not re.search(r"\"\d+\"|Always", line))


def test_everything_that_can_be_fixed_is_fixed_by_one_run(linter):
    """A second run finds nothing more to mend."""
    text = "---\n".join(path.read_text("utf-8") for path in PLANTED)
    mended, done = fix(text, [finding.edit for finding in linter.lint(text) if finding.edit is not None])
    assert done >= 4
    assert fix(mended, [each.edit for each in linter.lint(mended) if each.edit is not None])[1] == 0


@given(st.data())
def test_removing_a_field_removes_that_field(data):
    """Whatever stands around it, in block style: the document is the same, without the field."""
    fields = data.draw(st.lists(st.sampled_from("abcdef"), unique=True, min_size=2))
    values = {"a": " 1", "b": "\n- x\n- {y: 2}", "c": "\n  d: 3\n\n  # inside\n  e: 4", "d": " |\n  text\n\n  more"}
    text = "".join(
        data.draw(st.sampled_from(["", "# above\n", "\n"])) + f"{field}:{values.get(field, ' 5')}\n" for field in fields
    ).replace("\n", data.draw(st.sampled_from(["\n", "\r\n"])))
    (document,) = parse(text)
    victim = data.draw(st.sampled_from(fields))
    mended, done = fix(text, [Remove(document.keys[victim])])
    assert done == 1
    assert parse(mended)[0].python() == {key: value for key, value in document.python().items() if key != victim}


@pytest.mark.parametrize("text", ["a: {b: 1, c: 2}\n", "- a: 1\n  b: 2\n"])
def test_what_cannot_be_removed_alone_stays(text):
    """In flow style, and in front of a list's item, the text around it would have to change."""
    (document,) = parse(text)
    node = document.entries["a"] if hasattr(document, "entries") else document.items[0]
    key = "b" if hasattr(document, "entries") else "a"
    assert fix(text, [Remove(node.keys[key])]) == (text, 0)


# --- the command ------------------------------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(main, ["pod", "lint", *map(str, arguments)])


def test_the_command_says_where_what_and_what_to_do():
    """File, line, column, severity, message, remedy, rule; exit 1 with findings, 0 without."""
    result = run(PLANTED[0].parent)
    assert result.exit_code == 1
    assert re.search(r"ports\.yaml:\d+:\d+: error: port 80/TCP of .*; .* \(port-twice\)", result.output)
    assert re.search(r"6 files: \d+ errors, \d+ warnings", result.output)
    assert run("examples/01-storefront/pod.yaml").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("missing.yaml",), "missing.yaml: cannot be read"),
        (("--only", "port-twic", "x.yaml"), 'did you mean "port-twice"?'),
        (("--kubernetes", "9.99", "x.yaml"), "no schema for Kubernetes 9.99"),
        ((), "name the files"),
    ],
)
def test_wrong_usage_exits_2(arguments, expected):
    """With what is wrong, and what would be right."""
    process = subprocess.run(
        [sys.executable, "-m", "podpatterns", "pod", "lint", *arguments], capture_output=True, text=True, check=False
    )
    assert process.returncode == 2
    assert expected in process.stderr


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_fix_writes_the_file_and_says_so(tmp_path, end):
    """Only findings that are left are reported; line ends stay as they are."""
    file = tmp_path / "pod.yaml"
    file.write_bytes((Path(__file__).parent / "planted" / "sidecars.yaml").read_bytes().replace(b"\n", end))
    result = run("--fix", file)
    assert "mended" in result.output
    assert "probe-on-init" not in result.stdout
    assert b"livenessProbe" not in file.read_bytes()
    assert all(
        line.endswith(end) and not line.endswith(b"\r" + end) for line in file.read_bytes().splitlines(keepends=True)
    )


def test_a_finding_can_be_accepted():
    """By a comment in its line, for that rule alone."""
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: Bad_Name}  # podpatterns: ignore %s\n"
    assert [each.rule for each in Linter().lint(text % "port-twice, bad-name")] == []
    assert [each.rule for each in Linter().lint(text % "port-twice")] == ["bad-name"]


def test_yaml_that_cannot_be_read_is_a_finding():
    """A folder is linted to its end, whatever is in it."""
    assert [finding.rule for finding in Linter().lint("a: [")] == [YAML]
    assert [finding.rule for finding in Linter().lint("just text")] == [YAML]


def test_json_and_sarif(tmp_path):
    """Programs get the same findings, in the forms that they read."""
    (tmp_path / "a.yaml").write_text(PLANTED[1].read_text("utf-8"), "utf-8")
    plain = json.loads(run("--output", "json", tmp_path).output)
    assert plain["files"] == 1
    assert {"rule", "severity", "file", "line", "column", "message", "remedy", "fixable"} == set(plain["findings"][0])
    sarif = json.loads(run("--output", "sarif", tmp_path).output)
    results = sarif["runs"][0]["results"]
    assert [each["ruleId"] for each in results] == [each["rule"] for each in plain["findings"]]
    known = {rule["id"] for rule in sarif["runs"][0]["tool"]["driver"]["rules"]}
    assert {each["ruleId"] for each in results} <= known


def test_the_rules_can_be_listed():
    """With their reasons."""
    output = run("--rules").output
    assert all(rule.name in output and rule.reason in output for rule in rules())
