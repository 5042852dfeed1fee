"""MB per CPU-second of tail → HTTP NDJSON, counted at the receiver, and the sidecar's resident memory.

`python -m benchmarks.sidecar [MEGABYTES]`. Prints a table, then `row figure ratio floor ok|short`; exit 1 if short.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FLOOR = 260.0
"""MB of log per CPU-second of the sidecar."""
LINE = (
    '10.{}.{}.7 - - [23/Nov/2026:09:36:{:02d} +0000] "GET /api/products/{}?page={} HTTP/1.1" 200 {} '
    '"https://shop.example/" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0"\n'
)
CONFIG = """
sidecar:
  inputs: [{{type: tail, paths: ["{log}"]}}]
  outputs: [{{type: http, url: "http://127.0.0.1:{port}/"}}]
  fields: {{pod: storefront-7d9c, namespace: shop}}
  checkpoint: {state}
runtime: {{admin: "off", reload: 0s, log_level: warning}}
"""


def sink(listener: socket.socket, records: multiprocessing.sharedctypes.Synchronized[int]) -> None:
    """Reads bodies as fast as it can and counts their newlines."""
    connection, _ = listener.accept()
    with connection, connection.makefile("rb", buffering=1 << 20) as stream:
        while stream.readline():
            length = 0
            while (line := stream.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line[15:])
            records.value += stream.read(length).count(b"\n")
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


def measure(megabytes: int, directory: Path) -> tuple[float, float, float, int]:
    """MB per CPU-second, seconds, RSS in MB, lines missing (or, negative, too many) at the receiver."""
    log = directory / "access.log"
    count = size = 0
    with log.open("w") as file:
        while size < megabytes * 10**6:
            line = LINE.format(count % 256, count % 251, count % 60, count, count % 9, count % 90000)
            size += file.write(line)
            count += 1
    listener = socket.create_server(("127.0.0.1", 0))
    records = multiprocessing.Value("q", 0, lock=False)
    receiver = multiprocessing.Process(target=sink, args=(listener, records), daemon=True)
    receiver.start()
    config = directory / "sidecar.yaml"
    config.write_text(CONFIG.format(log=log, port=listener.getsockname()[1], state=directory / "state" / "checkpoint"))
    begin = time.monotonic()
    sidecar = subprocess.Popen([sys.executable, "-m", "podpatterns", "run", str(config)])
    deadline = begin + 120
    while records.value < count and time.monotonic() < deadline and sidecar.poll() is None:
        time.sleep(0.02)
    seconds = time.monotonic() - begin
    status = Path(f"/proc/{sidecar.pid}/status").read_text() if sidecar.poll() is None else ""
    rss = next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0.0)
    sidecar.send_signal(signal.SIGTERM)
    _, _, usage = os.wait4(sidecar.pid, 0)
    sidecar.returncode = 0
    receiver.terminate()
    receiver.join()
    listener.close()
    return size / 1e6 / (usage.ru_utime + usage.ru_stime), seconds, rss, count - records.value


def main() -> None:
    """Measure once and judge."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as directory:
        rate, seconds, rss, missing = measure(megabytes, Path(directory))
    print(f"{'work':28} {'MB/CPU-s':>9} {'seconds':>8} {'peak RSS MB':>12} {'missing':>8}")
    print(f"{'tail -> HTTP NDJSON':28} {rate:9.0f} {seconds:8.2f} {rss:12.1f} {missing:8d}")
    good = rate >= FLOOR and missing == 0
    print(f"sidecar-http {rate:.0f} {rate / FLOOR:.2f} {FLOOR:.0f} {'ok' if good else 'short'}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
