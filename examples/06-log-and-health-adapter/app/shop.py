"""A shop with a log of its own kind, and three ways of being well that no probe of Kubernetes knows.

Its log is Python's, in local time, with stack traces. It keeps its orders in SQLite, and a worker in it touches a file
as long as it works. Only the standard library, so that it runs in any Python image.
"""

import itertools
import json
import logging
import os
import signal
import sqlite3
import sys
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT = int(os.environ.get("PORT", "8740"))
LOGS, DATA = Path(os.environ.get("LOGS", "/var/log/shop")), Path(os.environ.get("DATA", "/var/lib/shop"))
HEARTBEAT, DATABASE = DATA / "heartbeat", DATA / "orders.db"

os.environ["TZ"] = "Europe/Zurich"
time.tzset()
LOGS.mkdir(parents=True, exist_ok=True)
DATA.mkdir(parents=True, exist_ok=True)
logging.basicConfig(
    filename=LOGS / "shop.log", level=logging.DEBUG, format="%(asctime)s %(levelname)s [%(name)s] %(message)s"
)
log = logging.getLogger("shop.orders")
stuck = threading.Event()


def work() -> None:
    """Orders, one after the other; every tenth is one that nobody has thought of."""
    database = sqlite3.connect(DATABASE)
    database.execute("CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY, customer TEXT)")
    for number in itertools.count(1):
        if stuck.is_set():
            log.warning("the worker is stuck")
            time.sleep(8)
            stuck.clear()
            log.warning("the worker is back")
        HEARTBEAT.touch()
        try:
            customer = {"customer": "ann"} if number % 10 else {}
            database.execute("INSERT INTO orders (customer) VALUES (?)", (customer["customer"],))
            database.commit()
            log.info("order %d of %s placed", number, customer["customer"])
        except KeyError:
            log.exception("order %d has failed", number)
        time.sleep(0.2)


class Shop(BaseHTTPRequestHandler):
    """Says how many orders there are; `/stick` makes the worker stick for some seconds."""

    def do_GET(self) -> None:
        """Answer every other path alike."""
        if self.path == "/stick":
            stuck.set()
        with closing(sqlite3.connect(DATABASE)) as database:
            (orders,) = database.execute("SELECT count(*) FROM orders").fetchone()
        body = json.dumps({"orders": orders, "stuck": stuck.is_set()}).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form: str, *args: object) -> None:
        """To the log, as everything."""
        logging.getLogger("shop.http").debug(form, *args)


# The first process of a container has no default action for SIGTERM.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
threading.Thread(target=work, daemon=True).start()
print(f"the shop listens on port {PORT}; its log is {LOGS / 'shop.log'}", flush=True)
ThreadingHTTPServer(("", PORT), Shop).serve_forever()
