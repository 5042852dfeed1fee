"""The shop: an ordinary web application that knows nothing of podpatterns.

It writes an access log to a file and rotates it, calls its back end on localhost, and sends StatsD metrics. Only the
standard library, so that it runs in any Python image.
"""

import json
import logging
import logging.handlers
import os
import signal
import socket
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template

PORT = int(os.environ.get("PORT", "8780"))
CATALOG = os.environ.get("CATALOG", "http://localhost:8700")
LOG = Path(os.environ.get("ACCESS_LOG", "/var/log/storefront/access.log"))
SITE = Path(os.environ.get("SITE", "/srv/site/current"))
STATSD = ("127.0.0.1", int(os.environ.get("STATSD_PORT", "8125")))

access = logging.getLogger("access")
access.setLevel(logging.INFO)
# Some 900 lines a file: at the demo's pace it is rotated every few seconds.
access.addHandler(logging.handlers.RotatingFileHandler(LOG, maxBytes=128 * 1024, backupCount=50))

metrics = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def emit(*lines: str) -> None:
    """Send StatsD lines, as any client library would."""
    metrics.sendto("\n".join(lines).encode(), STATSD)


class Shop(BaseHTTPRequestHandler):
    """One page, with the products that the catalog has."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes; do not wait for an acknowledgement between them

    def do_GET(self) -> None:
        """Answer, log, measure."""
        started = time.perf_counter()
        if self.path == "/healthz":
            self.answer(200, b"ok\n", "text/plain")
            return
        status, body = self.page()
        self.answer(status, body, "text/html; charset=utf-8")
        elapsed = time.perf_counter() - started
        stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
        agent = self.headers.get("User-Agent", "-")
        access.info(
            '%s - - [%s] "GET %s HTTP/1.1" %d %d "-" "%s"',
            self.client_address[0], stamp, self.path, status, len(body), agent,
        )  # fmt: skip
        emit(
            f"storefront.requests:1|c|#status:{status}",
            f"storefront.response_time:{elapsed * 1000:.3f}|ms",
            f"storefront.page_bytes:{len(body)}|g",
        )

    def page(self) -> tuple[int, bytes]:
        """The page, or an apology where the catalog does not answer."""
        try:
            with urllib.request.urlopen(f"{CATALOG}/products", timeout=5) as answer:
                catalog = json.load(answer)
        except OSError as error:
            return 502, f"the catalog does not answer: {error}\n".encode()
        items = "\n".join(f"<li>{each['name']}: {each['price']}</li>" for each in catalog["products"])
        template = Template((SITE / "index.html").read_text("utf-8"))
        return 200, template.substitute(products=items, version=catalog["version"]).encode()

    def answer(self, status: int, body: bytes, kind: str) -> None:
        """Send a response."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The access log is written above."""


# The first process of a container has no default action for SIGTERM.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print(f"the shop is open on port {PORT}", flush=True)
ThreadingHTTPServer(("", PORT), Shop).serve_forever()
