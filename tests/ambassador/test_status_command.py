"""`podpatterns ambassador …`, as a person types it, against a process that runs."""

import json
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from podpatterns.cli import main

CONFIG = """\
ambassador:
  listeners:
  - name: web
    listen: 127.0.0.1:0
    routes:
    - name: shop
      match: {{prefix: /shop}}
      split: {{stable: 100, test: 0}}
      ramp: {{steps: [10, 100]}}
    - name: rest
      split: {{stable: 50, test: 50}}
  upstreams:
    stable: 127.0.0.1:{upstream}
    test: 127.0.0.1:{upstream}
runtime: {{admin: "{admin}", log_format: json, log_level: info}}
"""


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def upstream():
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def running(tmp_path_factory, upstream):
    """A process; its file, admin endpoint and listener's port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        admin = f"127.0.0.1:{free.getsockname()[1]}"
    file = tmp_path_factory.mktemp("status") / "ambassador.yaml"
    file.write_text(CONFIG.format(upstream=upstream, admin=admin))
    process = subprocess.Popen(
        [sys.executable, "-m", "podpatterns", "run", file], stderr=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        port = serving(process)
        reader = threading.Thread(target=process.stderr.read)  # so that the pipe never fills
        reader.start()
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /shop HTTP/1.1\r\nHost: a\r\n\r\n" * 30)
            answers = b""
            while answers.count(b"\r\n\r\n") < 30:
                answers += client.recv(65536)
        yield file, admin
    finally:
        process.kill()
        process.wait()
    reader.join()
    process.stderr.close()


def serving(process):
    """The port of the listener, once the process is ready and listens."""
    lines, port, ready = [], None, False
    for line in process.stderr:
        lines.append(line)
        event = json.loads(line) if line.startswith("{") else {"event": ""}
        if event["event"] == "ambassador.listener.listening":
            port = int(event["address"].rpartition(":")[2])
        ready = ready or event.get("phase") == "ready"
        if ready and port:
            return port
    raise AssertionError("".join(lines))


def ambassador(*arguments):
    return CliRunner().invoke(main, ["ambassador", *map(str, arguments)])


def test_status_by_its_file(running):
    """The file says where the admin endpoint is; every version is there, with what has been measured."""
    file, _ = running
    result = ambassador("status", file)
    assert result.exit_code == 0, result.output
    assert "shop: path below /shop" in result.output
    assert "ramp of test:" in result.output
    assert "100 %" in result.output


def test_status_as_json(running):
    """The admin endpoint's own page."""
    _, admin = running
    result = ambassador("status", "--admin", admin, "--output", "json")
    shop, rest = json.loads(result.output)["listeners"]["web"]["routes"]
    assert sum(each["requests"] for each in shop["versions"].values()) == 30
    assert {each["success"] for each in shop["versions"].values() if each["requests"]} == {1.0}
    assert all(each["p99_seconds"] > 0 for each in shop["versions"].values() if each["requests"])
    assert rest["ramp"] is None


def test_watch_until_ctrl_c(running):
    """It is shown anew, with requests per second; SIGINT ends it with 0 and no traceback."""
    _, admin = running
    command = [sys.executable, "-m", "podpatterns", "ambassador", "status", "--admin", admin, "--watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1) as process:
        for line in process.stdout:
            if "per second" in line:
                break
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_weights(running):
    """Changed where the split is named; ambiguous without, and then the choice is shown."""
    _, admin = running
    result = ambassador("weights", "stable=70", "test=30", "--route", "rest", "--admin", admin)
    assert result.output == "rest: stable 70, test 30\n"
    result = ambassador("weights", "stable=1", "--admin", admin)
    assert result.exit_code == 1
    assert "several splits have these versions" in result.output
    assert "--listener web --route rest" in result.output
    result = ambassador("weights", "stabel=1", "--admin", admin)
    assert result.output == 'podpatterns: there is no version "stabel"; did you mean "stable"?\n'
    result = ambassador("weights", "stable=1", "--route", "rst", "--admin", admin)
    assert result.output == 'podpatterns: there is no route "rst"; did you mean "rest"?\n'
    result = ambassador("ramp", "pause", "--listener", "wbe", "--admin", admin)
    assert result.output == 'podpatterns: there is no listener "wbe"; did you mean "web"?\n'
    result = ambassador("weights", "stable", "--admin", admin)
    assert result.exit_code == 2
    assert "write VERSION=WEIGHT, such as stable=90" in result.output


def test_ramp(running):
    """Steered by hand; what is not possible now is said."""
    _, admin = running
    assert ambassador("ramp", "pause", "--admin", admin).output == "shop: ramp of test: paused at step 1 of 2, 10 %\n"
    result = ambassador("ramp", "pause", "--admin", admin)
    assert result.exit_code == 1
    assert "cannot pause a ramp that is paused; possible now: resume" in result.output
    assert "rolled back to 0 %: asked for" in ambassador("ramp", "abort", "--admin", admin).output
    assert "step 1 of 2, 10 %; 0 of 60 s" in ambassador("ramp", "restart", "--admin", admin).output


def test_nobody_there(tmp_path):
    """Exit 1, with the address that was tried; a file without an admin endpoint is a usage error."""
    result = ambassador("status", "--admin", "127.0.0.1:1")
    assert result.exit_code == 1
    assert "no admin endpoint answers: 127.0.0.1:1: Connection refused" in result.output
    file = tmp_path / "off.yaml"
    file.write_text(CONFIG.format(upstream=1, admin="off"))
    result = ambassador("status", file)
    assert result.exit_code == 2
    assert "no admin endpoint with a port of its own; use --admin" in result.output


def test_somebody_else_there(upstream):
    """The admin endpoint of something else is told from an ambassador's."""

    class Elsewhere(Answering):
        def do_GET(self):
            self.send_error(404)

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        result = ambassador("status", "--admin", f"127.0.0.1:{server.server_address[1]}")
        thread.join()
    assert result.exit_code == 1
    assert "not that of an ambassador" in result.output
