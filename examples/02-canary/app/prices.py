"""The service behind the shop, in three versions. One of them has a bug that no test has found."""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

PORT = int(os.environ.get("PORT", "8721"))
VERSION = os.environ.get("VERSION", "stable")
CONNECTIONS = int(os.environ.get("CONNECTIONS", "0"))
"""The database connections that this version opens and forgets to close before it has none left; 0: no such bug."""

requests = count(1)


class Prices(BaseHTTPRequestHandler):
    """Says what things cost, and which version says so."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes; do not wait for an acknowledgement between them

    def do_GET(self) -> None:
        """Answer every path alike."""
        if self.path != "/healthz" and 0 < CONNECTIONS < next(requests):
            self.answer(500, {"version": VERSION, "error": "no database connection left"})
        else:
            self.answer(200, {"version": VERSION, "teapot": "18.00"})

    def answer(self, status: int, data: dict[str, str]) -> None:
        """Send a response."""
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


# The first process of a container has no default action for SIGTERM.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print(f"version {VERSION} listens on port {PORT}", flush=True)
ThreadingHTTPServer(("", PORT), Prices).serve_forever()
