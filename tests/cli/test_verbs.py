"""The verbs, as a person types them."""

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from podpatterns.cli import main


def podpatterns(*arguments, **options):
    return CliRunner().invoke(main, [str(each) for each in arguments], **options)


BAD = """\
sidecar:
  inputs:
  - type: tial
    paths: [/var/log/*.log]
  outputs:
  - type: file
    paht: /tmp/x
runtime:
  grace: 30
"""


def test_check_lists_every_problem_and_exits_2(tmp_path):
    """Wrong type, wrong key and wrong unit in one run, each with its line and a suggestion."""
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    result = podpatterns("check", file)
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert f'{file}:3:11: sidecar.inputs[0].type: unknown sidecar input "tial"; did you mean "tail"?' in lines
    assert f'{file}:7:5: sidecar.outputs[0].paht: unknown key "paht"; did you mean "path"?' in lines
    assert f'{file}:9:10: runtime.grace: "30" is not a duration; did you mean "30s"?' in lines
    assert result.stdout == ""


def test_run_refuses_the_same(tmp_path):
    """What `check` refuses does not start."""
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    assert podpatterns("run", file).exit_code == 2


def test_a_missing_file_is_named(tmp_path):
    """No traceback: the file's name and the reason, exit 2."""
    result = podpatterns("check", tmp_path / "missing.yaml")
    assert result.exit_code == 2
    assert "missing.yaml: cannot be read: No such file or directory" in result.stderr


def test_several_missing_files_are_all_named(tmp_path):
    """One run shows all mistakes, also of this kind."""
    result = podpatterns("check", tmp_path / "one.yaml", tmp_path / "two.yaml")
    assert result.stderr.splitlines() == [
        f"{tmp_path}/{name}.yaml: cannot be read: No such file or directory" for name in ("one", "two")
    ]


def test_a_full_disk_is_a_message():
    """And exit 1: no traceback, neither at once nor at the exit; a reader that has enough is no failure."""
    command = [sys.executable, "-m", "podpatterns", "list"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (1, "podpatterns: No space left on device\n")
    quiet = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m podpatterns schema | head -1"],
        check=True, timeout=30, capture_output=True, text=True,
    )  # fmt: skip
    assert (quiet.stdout, quiet.stderr) == ("{\n", "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_of_another_encoding_is_no_reason_for_a_traceback(encoding, tmp_path):
    """What it cannot show is escaped, and in a timeline replaced."""
    (tmp_path / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"
        "spec: {restartPolicy: Never, containers: [{name: c, command: [echo, '\u2192 done']}]}\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for command in (["show", "render"], ["pod", "run", "pod.yaml"]):
        done = subprocess.run(
            [sys.executable, "-m", "podpatterns", *command],
            cwd=tmp_path, env=environment, check=False, timeout=60, capture_output=True,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout


def test_a_mistyped_verb_is_suggested():
    """Usage errors exit 2."""
    result = podpatterns("chek")
    assert result.exit_code == 2
    assert 'did you mean "check"?' in result.stderr


@pytest.mark.parametrize("pattern", [None, "sidecar", "ambassador", "adapter", "init"])
def test_the_schema_is_complete(pattern):
    """Every reference resolves, and unknown keys are refused by the schema too."""
    result = podpatterns("schema", *([pattern] if pattern else []))
    assert result.exit_code == 0
    schema = json.loads(result.stdout)
    references = {ref.rpartition("/")[2] for ref in strings(schema, "$ref")}
    assert references <= schema["$defs"].keys()
    structs = [each for each in schema["$defs"].values() if "properties" in each]
    assert structs
    assert all(each["additionalProperties"] is False for each in structs)
    assert all(
        "description" in field for each in structs for name, field in each["properties"].items() if name != "type"
    )


def strings(tree, key):
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == key and isinstance(value, str):
                yield value
            yield from strings(value, key)
    elif isinstance(tree, list):
        for each in tree:
            yield from strings(each, key)


def test_list_names_the_components_with_a_sentence():
    """Each type with what it does."""
    result = podpatterns("list")
    assert result.exit_code == 0
    for name in ("tail", "sqlite", "statsd", "prometheus", "git", "http"):
        assert f"  {name} " in result.stdout
    assert "  tail " not in podpatterns("list", "adapter").stdout
    assert podpatterns("list", "adaptr").exit_code == 2


def test_show_has_fields_defaults_and_an_example():
    """One page says all there is to know about a component."""
    result = podpatterns("show", "tail")
    assert result.exit_code == 0
    assert "paths" in result.stdout
    assert "Example:" in result.stdout
    unknown = podpatterns("show", "tial")
    assert unknown.exit_code == 2
    assert 'did you mean "tail"?' in unknown.stderr


def test_the_admin_endpoint_may_be_at_an_address_of_ipv6():
    """In brackets, as `runtime.admin` has it."""

    class Server(http.server.HTTPServer):
        address_family = socket.AF_INET6

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.path.encode())

        def log_message(self, *_):
            """Quietly."""

    with Server(("::1", 0), Page) as server:
        threading.Thread(target=server.handle_request).start()
        result = podpatterns("probe", "live", "--admin", f"[::1]:{server.server_port}")
    assert (result.exit_code, result.stdout) == (0, "/livez\n")


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("127.0.0.1:99999", 2, '"127.0.0.1:99999" is not an address'),
        ("127.0.0.1", 2, '"127.0.0.1" is not an address'),
        (f"{'ü' * 80}:80", 1, "no admin endpoint answers"),
    ],
)
def test_an_admin_endpoint_that_cannot_be_is_said(address, code, said):
    """In a line, whatever is wrong with it."""
    result = podpatterns("probe", "live", "--admin", address)
    assert result.exit_code == code
    assert said in result.stderr


@pytest.mark.parametrize("verb", ["probe", "drain"])
def test_nobody_at_the_admin_endpoint_is_said(verb):
    """A clear message with the address, exit 1."""
    result = podpatterns(verb, *(["ready"] if verb == "probe" else []), "--admin", "127.0.0.1:1")
    assert result.exit_code == 1
    assert "127.0.0.1:1" in result.stderr


def test_probe_imports_nothing_heavy():
    """An exec probe runs every few seconds in every pod: no aiohttp, no structlog, no asyncio."""
    code = (
        "import sys; from click.testing import CliRunner; from podpatterns.cli import main;"
        "CliRunner().invoke(main, ['probe', 'ready', '--admin', '127.0.0.1:1']);"
        "heavy = ('aiohttp', 'structlog', 'asyncio', 'yaml', 'msgspec', 'prometheus_client');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
