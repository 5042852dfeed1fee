"""Visitors of the shop: a small load generator."""

import os
import signal
import sys
import threading
import time
import urllib.request
from types import FrameType

SHOP = os.environ.get("SHOP", "http://localhost:8780")
PER_SECOND = float(os.environ.get("PER_SECOND", "100"))

leaving = threading.Event()


def leave(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM: finish the visit that is under way."""
    leaving.set()


signal.signal(signal.SIGTERM, leave)
answered = failed = 0
while not leaving.is_set():
    begun = time.monotonic()
    try:
        with urllib.request.urlopen(f"{SHOP}/?visit={answered}", timeout=5) as page:
            page.read()
        answered += 1
    except OSError:
        failed += 1
        leaving.wait(0.2)  # the shop is not open yet
    leaving.wait(max(0.0, 1 / PER_SECOND - (time.monotonic() - begun)))
print(f"{answered} visits answered, {failed} failed", flush=True)
sys.exit(0)
