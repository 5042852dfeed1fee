"""The shop's back end, in two deployments: the stable one and the one under test."""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = int(os.environ.get("PORT", "8781"))
VERSION = os.environ.get("VERSION", "stable")
PRODUCTS = [{"name": "a teapot", "price": "18.00"}, {"name": "a cup", "price": "4.50"}]


class Catalog(BaseHTTPRequestHandler):
    """Says what there is to buy, and which version says so."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes; do not wait for an acknowledgement between them

    def do_GET(self) -> None:
        """Answer every path alike."""
        body = json.dumps({"version": VERSION, "products": PRODUCTS}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


# The first process of a container has no default action for SIGTERM.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print(f"the {VERSION} catalog listens on port {PORT}", flush=True)
ThreadingHTTPServer(("", PORT), Catalog).serve_forever()
