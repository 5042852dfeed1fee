"""A small identity provider: gives access tokens for client credentials (RFC 6749 4.4), over TLS."""

import hashlib
import hmac
import json
import os
import signal
import ssl
import sys
import time
from base64 import b64decode, urlsafe_b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote_plus

PORT = int(os.environ.get("PORT", "8744"))
LIFETIME = float(os.environ.get("LIFETIME", "4"))
FILES = Path(os.environ.get("FILES", "/var/run/identity"))


def signed(claims: dict[str, object]) -> str:
    """A token that whoever has the key can check: claims and signature."""
    body = urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"{body}.{hmac.new((FILES / 'signing-key').read_bytes(), body.encode(), hashlib.sha256).hexdigest()}"


class Identity(BaseHTTPRequestHandler):
    """Knows one client."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """A token, or why there is none."""
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        kind, _, pair = self.headers.get("Authorization", "").partition(" ")
        client, _, secret = b64decode(pair).decode().partition(":") if kind == "Basic" else ("", "", "")
        known = unquote_plus(client) == "shop" and hmac.compare_digest(
            unquote_plus(secret), (FILES / "client-secret").read_text().strip()
        )
        if not known:
            self.reply(401, {"error": "invalid_client"})
        elif form.get("grant_type") != ["client_credentials"] or form.get("audience") != ["orders"]:
            self.reply(400, {"error": "invalid_request"})
        else:
            token = signed({"client": "shop", "audience": "orders", "ends": time.time() + LIFETIME})
            self.reply(200, {"access_token": token, "token_type": "Bearer", "expires_in": LIFETIME})

    def reply(self, status: int, answer: dict[str, object]) -> None:
        """Send it as JSON."""
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(FILES / "tls.crt", FILES / "tls.key")
server = ThreadingHTTPServer(("", PORT), Identity)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(f"the identity provider listens on port {PORT}; its tokens last {LIFETIME:g}s", flush=True)
server.serve_forever()
