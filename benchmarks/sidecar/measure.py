"""What is measured: one shipper at one piece of work, with the writer and the receiver in processes of their own."""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec

from benchmarks.processes import CORE, LOAD_CORE, cpu, free_port, rss, start, stop, wait_for
from benchmarks.sidecar import logs
from benchmarks.sidecar.logs import Log
from benchmarks.sidecar.receiver import UNCOUNTED, Report
from benchmarks.sidecar.shippers import SHIPPERS, Site
from benchmarks.sidecar.workloads import LINES, OURS, Workload

PATIENCE = 20.0
"""Seconds without a record after which the rest counts as lost."""
QUIET = 100
MANY = 1000
IDLE_SECONDS = 20.0
PACE = 1000.0
"""Lines a second, for latencies."""


@dataclass(slots=True)
class Running:
    """A shipper and its receiver."""

    site: Site
    receiver: subprocess.Popen[bytes]
    shipper: subprocess.Popen[bytes]
    progress: mmap.mmap

    @property
    def records(self) -> int:
        """Records that the receiver has by now."""
        return int(struct.unpack("q", self.progress[:8])[0])

    def wait(self, count: int) -> None:
        """Return when so many records have come, or none for a long while."""
        seen, since = self.records, time.monotonic()
        while seen < count and time.monotonic() - since < PATIENCE and self.shipper.poll() is None:
            time.sleep(0.005)
            if self.records > seen:
                seen, since = self.records, time.monotonic()

    def end(self) -> Report:
        """Stop both; what came in all."""
        stop([self.shipper])
        self.receiver.terminate()
        output, _ = self.receiver.communicate(timeout=60)
        return msgspec.json.decode(output, type=Report)


@contextmanager
def running(
    name: str, workload: Workload, first: Callable[[Path], None], *, log: str = "app.log", linger: str = "1s"
) -> Iterator[Running]:
    """A shipper with its receiver; `first` puts into the folder what is there when it starts."""
    with tempfile.TemporaryDirectory(prefix="bench-sidecar-") as directory:
        site = Site(Path(directory), free_port(), free_port(), log, linger)
        file = site.folder / "progress"
        file.write_bytes(bytes(8))
        first(site.folder)
        module = [sys.executable, "-m", "benchmarks.sidecar.receiver", workload.protocol, str(site.port), str(file)]
        receiver = start(module, LOAD_CORE, subprocess.PIPE)
        processes = [receiver]
        try:
            wait_for(site.port, receiver)
            command = SHIPPERS[name](site, workload)
            shipper = start(command.arguments, CORE, environment={**os.environ, **command.environment})
            processes.append(shipper)
            with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 8) as progress:
                yield Running(site, receiver, shipper, progress)
        finally:
            stop([each for each in processes if each.poll() is None])


@dataclass(frozen=True, slots=True)
class Round:
    """What one shipper did with one log."""

    rate: float
    """MB of the log that arrived, for each second of the shipper's CPU time."""
    seconds: float
    size: float
    """Megabytes of the log that arrived."""
    rss: float
    """Resident megabytes at most."""
    lost: int
    duplicated: int
    startup: float
    """Seconds of CPU time until the first record had arrived."""


def throughput(name: str, workload: Workload, log: Log) -> Round:
    """A shipper that is running, and has nothing to do, gets the whole log."""
    size = log.sizes[0]

    def first(folder: Path) -> None:
        with log.path.open("rb") as file:
            (folder / "app.log").write_bytes(file.read(size))

    with running(name, workload, first) as run:
        run.wait(1)
        time.sleep(0.3)
        pid, target = run.shipper.pid, run.site.folder / "app.log"
        before, begin = cpu(pid), time.monotonic()
        command = [sys.executable, "-m", "benchmarks.sidecar.writer", "copy", str(log.path), str(target), str(size)]
        writer = start(command, LOAD_CORE)
        run.wait(len(log.sizes))
        seconds = time.monotonic() - begin
        time.sleep(0.1)  # what a shipper writes down after the acknowledgement is part of the work
        used, peak = cpu(pid) - before, rss(pid, peak=True)
        writer.wait(10)
        report = run.end()
    missing = [*report.missing, *range(report.records - report.duplicated + len(report.missing), len(log.sizes))]
    if name == OURS and not all(map(workload.check, report.samples)):
        wrong = next(sample for sample in report.samples if not workload.check(sample))
        raise SystemExit(f"{workload.name}: this is not what it should be: {wrong}")
    delivered = log.size - size - sum(log.sizes[number] for number in missing)
    return Round(delivered / 1e6 / used, seconds, delivered / 1e6, peak, len(missing), report.duplicated, before)


def many_files() -> float:
    """Resident megabytes at most, of ours with many files that have something in them."""
    lines = logs.lines("access")

    def first(folder: Path) -> None:
        for number in range(MANY):
            text = "".join(f"{line}\n" for line in islice(lines, 50))
            (folder / f"app-{number}.log").write_text(text)

    with running(OURS, LINES, first, log="*.log") as run:
        run.wait(MANY * 50)
        peak = rss(run.shipper.pid, peak=True)
        report = run.end()
    if report.records != MANY * 50 or report.duplicated:
        raise SystemExit(f"{MANY} files: {report.records} records of {MANY * 50}")
    return peak


def idle(seconds: float) -> float:
    """Per cent of a core that ours takes with files in which nothing happens."""
    lines = logs.lines("access")

    def first(folder: Path) -> None:
        for number in range(QUIET):
            (folder / f"app-{number}.log").write_text(next(lines) + "\n")

    with running(OURS, LINES, first, log="*.log") as run:
        run.wait(QUIET)
        time.sleep(2)
        before, begin = cpu(run.shipper.pid), time.monotonic()
        time.sleep(seconds)
        used, elapsed = cpu(run.shipper.pid) - before, time.monotonic() - begin
    return 100 * used / elapsed


def latency(linger: str, seconds: float) -> float:
    """Milliseconds from the writing of a line to its acknowledgement, the 99th percentile, of ours."""

    def first(folder: Path) -> None:
        (folder / "app.log").write_text(f"the first line req-{UNCOUNTED}\n")

    with running(OURS, LINES, first, linger=linger) as run:
        run.wait(1)
        time.sleep(1)
        target = str(run.site.folder / "app.log")
        command = [sys.executable, "-m", "benchmarks.sidecar.writer", "pace", target, str(PACE), str(seconds)]
        writer = start(command, LOAD_CORE)
        writer.wait(seconds + 20)
        run.wait(int(PACE * seconds) + 1)
        report = run.end()
    found = report.latencies
    if len(found) != int(PACE * seconds):
        raise SystemExit(f"latency: {len(found)} records of {int(PACE * seconds)}")
    return found[len(found) * 99 // 100] / 1e6


def yardstick(log: Log) -> float:
    """MB per CPU-second of the bare loop, on the core of the shippers."""
    command = ["taskset", "-c", str(CORE), sys.executable, "-m", "benchmarks.sidecar.yardstick", str(log.path)]
    return float(subprocess.run(command, check=True, capture_output=True).stdout)
