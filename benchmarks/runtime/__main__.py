"""Start to ready, and resident memory, of each runtime: `python -m benchmarks.runtime`.

Each pattern is started as `podpatterns run` starts it in a container, and asked until it says that it is ready. The
figure is the median of several starts, the patterns interleaved.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROUNDS = 7
PORT = 19801
READY_MS, RSS_MB = 400, 50

CONFIGS = {
    "sidecar": """
sidecar:
  checkpoint: {folder}/checkpoint.json
  inputs: [{{type: tail, paths: ["{folder}/*.log"]}}]
  outputs: [{{type: sqlite, path: {folder}/logs.sqlite}}]
""",
    "ambassador": """
ambassador:
  listeners: [{{listen: "127.0.0.1:0", routes: [{{split: {{stable: 90, test: 10}}}}]}}]
  upstreams: {{stable: "127.0.0.1:9", test: "127.0.0.1:9"}}
""",
    "adapter": """
adapter:
  inputs: [{{type: statsd, listen: "127.0.0.1:0"}}]
  outputs: [{{type: prometheus, listen: "127.0.0.1:0"}}]
""",
}


def start(file: Path) -> tuple[float, float]:
    """Milliseconds from the start of the process to the first 200 of /readyz, and its memory in MB then."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "podpatterns", "run", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            assert process.poll() is None, f"{file} ended with {process.returncode}"
            with contextlib.suppress(OSError, urllib.error.URLError):
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=1).close()
                break
            time.sleep(0.002)
        ready = (time.perf_counter() - begun) * 1000
        status = Path(f"/proc/{process.pid}/status").read_text()
        rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        return ready, rss / 1024
    finally:
        process.terminate()
        process.wait()


def main() -> int:
    """Measure, print, and say whether every row is long enough."""
    found: dict[str, list[tuple[float, float]]] = {pattern: [] for pattern in CONFIGS}
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for pattern, text in CONFIGS.items():
            files[pattern] = Path(folder) / f"{pattern}.yaml"
            admin = f'runtime: {{admin: "127.0.0.1:{PORT}", log_level: error}}\n'
            files[pattern].write_text(text.format(folder=folder) + admin)
        for _ in range(ROUNDS):
            for pattern, file in files.items():
                found[pattern].append(start(file))
    short = False
    print(f"{'row':32} {'figure':>10} {'ratio':>7} {'floor':>7}")
    for pattern, rounds in found.items():
        ready = statistics.median(each[0] for each in rounds)
        rss = statistics.median(each[1] for each in rounds)
        for row, figure, most in (
            (f"{pattern}: start to ready, ms", ready, READY_MS),
            (f"{pattern}: RSS, MB", rss, RSS_MB),
        ):
            good = figure <= most
            short |= not good
            print(f"{row:32} {figure:10.1f} {figure / most:7.2f} {most:7}  {'ok' if good else 'short'}")
    return int(short)


if __name__ == "__main__":
    sys.exit(main())
