"""The application: it calls plain http://localhost, and knows no address, no certificate and no credential."""

import json
import os
import signal
import sys
import threading
import urllib.request
from types import FrameType

ORDERS = os.environ.get("ORDERS", "http://localhost:8700")

leaving = threading.Event()


def leave(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM: finish the request that is under way."""
    leaving.set()


signal.signal(signal.SIGTERM, leave)
fetched = failed = 0
tokens = set()
while not leaving.is_set():
    try:
        with urllib.request.urlopen(f"{ORDERS}/orders/{fetched + 1}", timeout=5) as answer:
            order = json.load(answer)
        fetched += 1
        tokens.add(order["token"])
        if fetched == 1:
            print(f"success: order 1 is {order['state']}; its service knows me as {order['client']}", flush=True)
    except OSError as error:
        if fetched:  # before that, the services may still be starting
            failed += 1
            print(f"failed: {error}", flush=True)
    leaving.wait(0.1)
print(f"{fetched} orders fetched with {len(tokens)} access tokens, {failed} failed", flush=True)
sys.exit(1 if failed or not fetched else 0)
