"""A small HTTP service: `service.py NAME PORT LEDGER`. It writes down what it was asked for before it answers.

Nothing but the standard library, and a thread for each connection: it starts in an instant, because tests kill and
start it many times.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time


def answer(connection: socket.socket, name: bytes, ledger: int) -> None:
    """Serve one connection until it ends. `/slow` takes a while, so that a kill often comes in the middle."""
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return
            data += piece
        head, _, data = data.partition(b"\r\n\r\n")
        method, path, _ = head.split(b" ", 2)
        # Appended in one call: lines of several processes and threads do not mix.
        os.write(ledger, method + b" " + path + b"\n")
        if path.startswith(b"/slow"):
            time.sleep(0.01)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name))


def served(connection: socket.socket, name: bytes, ledger: int) -> None:
    with connection:
        try:
            answer(connection, name, ledger)
        except OSError:
            return


def main() -> None:
    name, port, ledger = sys.argv[1:]
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND)
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind(("127.0.0.1", int(port)))
    listening.listen(128)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    while True:
        connection, _ = listening.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=served, args=(connection, name.encode(), file), daemon=True).start()


main()
