"""The service behind the ambassador: TLS, a certificate from every client, and an access token in every request."""

import hashlib
import hmac
import json
import os
import signal
import ssl
import sys
import time
from base64 import urlsafe_b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT = int(os.environ.get("PORT", "8743"))
FILES = Path(os.environ.get("FILES", "/var/run/orders"))


def claims(authorization: str) -> dict[str, object] | None:
    """What the token says; None if it is none of the identity provider's, or has ended."""
    kind, _, token = authorization.partition(" ")
    body, _, signature = token.partition(".")
    expected = hmac.new((FILES / "signing-key").read_bytes(), body.encode(), hashlib.sha256).hexdigest()
    if kind != "Bearer" or not hmac.compare_digest(signature, expected):
        return None
    found: dict[str, object] = json.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found if found["audience"] == "orders" and float(str(found["ends"])) > time.time() else None


class Orders(BaseHTTPRequestHandler):
    """Answers whoever has a certificate and a token."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes; do not wait for an acknowledgement between them

    def do_GET(self) -> None:
        """An order, with who has asked for it."""
        authorization = self.headers.get("Authorization", "")
        who = claims(authorization)
        if who is None:
            self.reply(401, {"error": "no valid access token"})
            return
        subject = dict(pair for part in self.connection.getpeercert()["subject"] for pair in part)
        self.reply(
            200,
            {
                "state": "shipped",
                "client": f"{who['client']}, by the certificate of {subject['commonName']}",
                "token": hashlib.sha256(authorization.encode()).hexdigest()[:8],
            },
        )

    def reply(self, status: int, answer: dict[str, object]) -> None:
        """Send it as JSON."""
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(FILES / "tls.crt", FILES / "tls.key")
context.load_verify_locations(FILES / "ca.crt")
context.verify_mode = ssl.CERT_REQUIRED
server = ThreadingHTTPServer(("", PORT), Orders)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(f"the orders service listens on port {PORT}", flush=True)
server.serve_forever()
