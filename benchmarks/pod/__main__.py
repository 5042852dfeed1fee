"""What a local pod costs: start-up of three containers, and the runner's memory: `python -m benchmarks.pod`.

Each of the containers takes its time to come up; counted is what passes beyond the slowest of them, from the start of
the command until all three have said that they are up. The figure is the median of several starts, with each pod on a
network of its own and on the machine's, interleaved.
"""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 7
SLOWEST = 0.4
START_MS, RSS_MB = 300, 40


def container(name: str, seconds: float, **more: str) -> dict[str, object]:
    """One that is up after some seconds."""
    script = f"trap 'exit 0' TERM; sleep {seconds}; echo up; sleep 100 & wait"
    return {"name": name, "command": ["sh", "-c", script], **more}


POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "bench"},
    "spec": {
        "initContainers": [container("side", 0.1, restartPolicy="Always")],
        "containers": [container("main", SLOWEST), container("other", 0.2)],
        "terminationGracePeriodSeconds": 5,
    },
}


def start(file: Path, network: str) -> tuple[float, float]:
    """Milliseconds beyond the slowest container until all are up, and the runner's memory in MB then."""
    command = [sys.executable, "-m", "podpatterns", "pod", "run", str(file), "--network", network, "--output", "json"]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        up = 0
        for line in process.stdout:
            up += json.loads(line).get("line") == "up"
            if up == 3:
                break
        ready = (time.perf_counter() - begun - SLOWEST) * 1000
        status = Path(f"/proc/{process.pid}/status").read_text()
        rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        return ready, rss / 1024
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


def main() -> int:
    """Measure, print, and say whether every row is within its bound."""
    found: dict[str, list[tuple[float, float]]] = {"pod": [], "host": []}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pod.json"
        file.write_text(json.dumps(POD))
        for _ in range(ROUNDS):
            for network, rounds in found.items():
                rounds.append(start(file, network))
    short = False
    print(f"{'row':52} {'figure':>10} {'ratio':>7} {'floor':>7}")
    for network, rounds in found.items():
        for row, figure, most in (
            ("three containers up, ms over the slowest", statistics.median(each[0] for each in rounds), START_MS),
            ("runner's RSS, MB", statistics.median(each[1] for each in rounds), RSS_MB),
        ):
            good = figure <= most
            short |= not good
            said = "ok" if good else "short"
            print(f"{f'{network} network: {row}':52} {figure:10.1f} {figure / most:7.2f} {most:7}  {said}")
    return int(short)


if __name__ == "__main__":
    sys.exit(main())
