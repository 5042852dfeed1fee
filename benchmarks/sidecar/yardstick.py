"""How fast this machine is at the moment: `python -m benchmarks.sidecar.yardstick ACCESS_LOG`.

The loop that any shipper in Python has to have, and no more than that: reads in chunks, splits lines, wraps each as
JSON, joins them; no socket, no checkpoint. Prints MB per CPU-second. The floors were set when it was 450.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec

CHUNK = 256 * 1024


def run(path: str) -> float:
    """MB per CPU-second."""
    encode, size, rest = msgspec.json.encode, 0, b""
    begin = time.process_time()
    with Path(path).open("rb", 0) as file:
        while data := file.read(CHUNK):
            *lines, rest = (rest + data).split(b"\n")
            records = [b'{"message":%b}' % encode(line.decode()) for line in lines]
            size += len(b"\n".join(records)) and len(data)
    return size / 1e6 / (time.process_time() - begin)


if __name__ == "__main__":
    print(run(sys.argv[1]))
