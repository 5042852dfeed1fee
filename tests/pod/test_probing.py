"""Probes over TLS: certificates are not looked at, as by the kubelet, and what is no TLS is told as such."""

import asyncio
import re
import subprocess
import sys

import pytest

from podpatterns.pod import LocalPod, What
from podpatterns.pod.model import HttpGet, PodSpec
from podpatterns.pod.network import HostNetwork
from podpatterns.pod.probing import perform

SERVER = """
import http.server, ssl, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()
    def log_message(self, *_): pass
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(*sys.argv[1:])
server = http.server.HTTPServer(("0.0.0.0", 8443), Page)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@pytest.fixture
def self_signed(tmp_path):
    """Paths of a certificate that nobody has signed but its own key, for another name, and of the key."""
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-subj", "/CN=elsewhere.example.org", "-out", certificate, "-keyout", key],
        check=True, capture_output=True, timeout=20,
    )  # fmt: skip
    return str(certificate), str(key)


async def test_a_self_signed_certificate_passes_a_probe(self_signed):
    """Of whatever name; the status decides."""
    probe = {"httpGet": {"scheme": "HTTPS", "port": 8443, "path": "/healthz"}, "periodSeconds": 1}
    other = {**probe, "httpGet": {**probe["httpGet"], "path": "/other"}}
    main = {"name": "main", "command": [sys.executable, "-c", SERVER, *self_signed]}
    main |= {"startupProbe": {**probe, "failureThreshold": 30}, "readinessProbe": other}
    document = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "test"},
        "spec": {"containers": [main], "terminationGracePeriodSeconds": 0},
    }  # fmt: skip
    async with LocalPod(document, speed=10) as local:
        entry = await local.wait(What.UNHEALTHY, "main", text="readiness")
    assert "HTTP 404 from https://" in entry.detail


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", r"no TLS \(.+\); does it speak HTTP without it\?"),
        (b"", "the connection was closed without an answer"),
    ],
)
async def test_who_speaks_no_tls_is_told_so(answer, why):
    """Not by the system's words for a number that is TLS's own."""

    async def serve(reader, writer):
        await reader.read(100)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        probe = HttpGet(port, scheme="HTTPS")
        ok, said = await perform(probe, 5, None, network=HostNetwork(), pod=PodSpec("test", ()))
    assert not ok
    assert re.fullmatch(f"https://127.0.0.1:{port}/: {why}", said)
