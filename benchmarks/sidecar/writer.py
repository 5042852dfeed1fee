"""The application: writes a log.

python -m benchmarks.sidecar.writer copy FROM TO OFFSET    all of it at once
python -m benchmarks.sidecar.writer pace TO RATE SECONDS   so many lines a second, each with the time of its writing
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from benchmarks.sidecar.logs import lines


def copy(source: str, target: str, offset: int) -> None:
    """Append a file, from a byte of it on, to a log."""
    with Path(source).open("rb") as file, Path(target).open("r+b", 0) as log:  # sendfile(2) wants no O_APPEND
        log.seek(0, os.SEEK_END)
        while sent := os.sendfile(log.fileno(), file.fileno(), offset, 1 << 20):
            offset += sent


def pace(target: str, rate: float, seconds: float) -> None:
    """Append a line at a time; a line that is late does not move those after it."""
    with Path(target).open("ab", 0) as log:
        begin = time.monotonic()
        for number, line in zip(range(int(rate * seconds)), lines("access"), strict=False):
            wait = begin + number / rate - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            log.write(f"{line} written={time.monotonic_ns()}\n".encode())


if __name__ == "__main__":
    if sys.argv[1] == "copy":
        copy(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        pace(sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
