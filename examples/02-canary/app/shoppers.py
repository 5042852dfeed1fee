"""The application: shoppers who ask for /prices, /search and /cart on localhost, and say who has answered.

It knows nothing of versions, weights and ramps: it calls one address. That the answers name their version is for you to
see what happens.
"""

import http.client
import json
import os
import signal
import sys
import threading
import time
from collections import Counter

ADDRESS = os.environ.get("SERVICE", "localhost:8720")
SHOPPERS = int(os.environ.get("SHOPPERS", "40"))
PER_SECOND = float(os.environ.get("PER_SECOND", "3"))
"""Requests of each shopper."""

PATHS = ("/prices", "/search", "/cart")

closing = threading.Event()
lock = threading.Lock()
answers: Counter[tuple[str, str]] = Counter()
"""By path and version, since the last line was printed; `failed` in the place of the version is among them."""
carts: dict[int, set[str]] = {}
"""The versions that have answered each shopper's /cart."""


def shop(number: int) -> None:
    """One shopper: a connection, a cookie, a request now and then."""
    cookie, connection = "", http.client.HTTPConnection(ADDRESS, timeout=5)
    closing.wait(number / SHOPPERS / PER_SECOND)
    turn = number
    while not closing.is_set():
        path, turn = PATHS[turn % len(PATHS)], turn + 1
        try:
            connection.request("GET", path, headers={"Cookie": cookie} if path == "/cart" and cookie else {})
            answer = connection.getresponse()
            body = answer.read()
            cookie = (answer.getheader("Set-Cookie") or cookie).partition(";")[0]
            version = json.loads(body)["version"] if answer.status < 500 or body.startswith(b"{") else "nobody"
            with lock:
                answers[path, version] += 1
                answers[path, "failed"] += answer.status >= 500
                if path == "/cart" and answer.status < 500:
                    carts.setdefault(number, set()).add(version)
        except OSError:
            connection.close()
            with lock:
                answers[path, "failed"] += 1
        closing.wait(1 / PER_SECOND)
    connection.close()


def line(path: str, version: str, seen: Counter[tuple[str, str]]) -> str:
    """`/prices next  25 % █████`: what share a version has had of a path in the last second."""
    total = sum(count for (each, who), count in seen.items() if each == path and who != "failed")
    share = seen[path, version] / total if total else 0.0
    failed = f"{seen[path, 'failed']} failed" if seen[path, "failed"] else ""
    return f"{path} {version} {share:5.0%} {'█' * round(share * 10):10} {failed:9}"


def main() -> None:
    """Shop until SIGTERM; a line each second."""
    signal.signal(signal.SIGTERM, lambda *_: closing.set())
    threads = [threading.Thread(target=shop, args=(number,)) for number in range(SHOPPERS)]
    for thread in threads:
        thread.start()
    begun = time.monotonic()
    while not closing.wait(1):
        with lock:
            seen = answers.copy()
            answers.clear()
            on_next = sum("next" in versions for versions in carts.values())
        print(
            f"{time.monotonic() - begun:3.0f} s  {line('/prices', 'next', seen)} {line('/search', 'hasty', seen)}"
            f" /cart next for {on_next} of {len(carts)} shoppers",
            flush=True,
        )
    for thread in threads:
        thread.join()
    faithful = sum(len(versions) == 1 for versions in carts.values())
    print(f"{faithful} of {len(carts)} shoppers have seen one version of their cart, and no other", flush=True)


main()
sys.exit(0)
