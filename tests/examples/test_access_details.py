"""The access details: the application knows none of them, and its requests are answered all the same."""

import http.client
import json
import re
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from podpatterns.runtime import config
from tests.examples.free_ports import free_ports

EXAMPLE = Path(__file__).parents[2] / "examples/03-access-details"
MANIFESTS = ("app.yaml", "service.yaml", "pod.yaml")
PORTS = ("8700", "8743", "8744", "9802")

pytestmark = pytest.mark.timeout(120)


def documents(text):
    return list(yaml.safe_load_all(text))


@pytest.fixture(scope="module")
def secrets():
    """The manifests of the Secrets, made anew."""
    command = [sys.executable, EXAMPLE / "make_secrets.py"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def folder(tmp_path, secrets):
    """The manifests with free ports, and tokens that last for two seconds."""
    ports = [str(port) for port in free_ports(len(PORTS))]
    for name in MANIFESTS:
        text = (EXAMPLE / name).read_text()
        for old, new in zip(PORTS, ports, strict=True):
            text = re.sub(rf"\b{old}\b", new, text)
        text = text.replace("runtime: {log_level: warning}", f"runtime: {{log_level: debug, admin: ':{ports[3]}'}}")
        (tmp_path / name).write_text(text.replace('LIFETIME, value: "4"', 'LIFETIME, value: "2"'))
    (tmp_path / "secrets.yaml").write_text(secrets)
    return tmp_path, dict(zip(PORTS, map(int, ports), strict=True))


@pytest.fixture
def run(folder, pod_run):
    files, ports = folder
    given = (files / name for name in ("service.yaml", "pod.yaml"))
    return pod_run(*given, "--with", files / "app.yaml", "--with", files / "secrets.yaml", "--publish", ports["8743"])


def got(port, path):
    """The body of an answer of this machine's."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read().decode()
    finally:
        connection.close()


def answered_without_certificate(port):
    """What somebody gets who has none: an alert, a reset, or the end, whichever comes first, and no byte."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain) as secured:
            secured.sendall(b"GET /orders/1 HTTP/1.1\r\nHost: a\r\n\r\n")
            return secured.recv(1)
    except (ssl.SSLError, ConnectionError):
        return b""


def counted(port, name):
    """A counter of the ambassador's, over all its series."""
    return sum(map(float, re.findall(rf"podpatterns_ambassador_{name}_total\{{.*\}} (\S+)", got(port, "/metrics"))))


def grows_by(port, name, count):
    before = counted(port, name)
    wait_until(lambda: counted(port, name) >= before + count)


def wait_until(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_the_application_knows_nothing_and_is_answered(run, folder, secrets):
    """Tokens come and go under it; without certificate nobody is served; no secret is in any output or page."""
    ports = folder[1]
    run.wait_for(r"success: order 1 is shipped; its service knows me as shop, by the certificate of shop")
    grows_by(ports["9802"], "tokens", 1)  # one that is new to the application
    grows_by(ports["9802"], "requests", 4)
    order = json.loads(got(ports["8700"], "/orders/1"))
    assert order["state"] == "shipped"
    pages = [got(ports["9802"], path) for path in ("/ambassador", "/config", "/metrics", "/status")]
    assert "access token for another" in pages[0]
    assert answered_without_certificate(ports["8743"]) == b""
    assert run.end() == 0, run.output
    output = run.output
    last = re.search(r"(\d+) orders fetched with (\d+) access tokens, (\d+) failed", output)
    assert int(last[1]) > 1
    assert int(last[2]) > 1
    assert int(last[3]) == 0
    assert "Every container did what it should." in output
    hidden = {
        line.strip()
        for each in documents(secrets)
        for name, text in each["stringData"].items()
        if name in {"tls.key", "client-secret", "signing-key"}
        for line in text.splitlines()
        if "-----" not in line
    }
    assert len(hidden) > 5
    for secret in hidden:
        assert secret not in output
        assert not any(secret in page for page in pages)


def test_no_key_is_kept_in_the_repository():
    """What is secret is made when it is needed, for this machine alone."""
    texts = [path.read_text() for path in EXAMPLE.rglob("*") if path.is_file() and path.name != "secrets.yaml"]
    assert not any("PRIVATE KEY-----" in text for text in texts)


def test_the_embedded_programs_are_the_files():
    """`make examples` has been run after the last change of `app/`."""
    (document,) = documents((EXAMPLE / "app.yaml").read_text())
    files = {path.name: path.read_text() for path in (EXAMPLE / "app").iterdir() if path.is_file()}
    assert document["data"] == files


def test_the_configuration_is_valid():
    """Every variable that it uses is set in the manifest, and nothing in it is unknown."""
    pod, configmap = documents((EXAMPLE / "pod.yaml").read_text())
    environment = {
        each["name"]: re.sub(r"\$\(\w+\)", "127.0.0.1", each["value"])
        for each in pod["spec"]["initContainers"][0]["env"]
    }
    config.loads([("ambassador.yaml", configmap["data"]["ambassador.yaml"])], environment)
