"""The far side: takes what a shipper sends, acknowledges it where the protocol can, and says which lines it was.

    python -m benchmarks.sidecar.receiver {http,tcp} PORT PROGRESS

It does as little as possible while it receives: what came is kept in memory, and how many records it was is written to
the file PROGRESS (8 bytes, as the machine writes integers). At SIGTERM it prints a `Report` as JSON.
"""

from __future__ import annotations

import mmap
import re
import signal
import socket
import struct
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import msgspec

from benchmarks.sidecar.logs import MARK

PIECE = 1 << 20
NUMBER = re.compile(MARK + rb"(\d{10})")
WRITTEN = re.compile(rb"written=(\d+)")
"""The monotonic clock's nanoseconds at which a line was written, where the writer says so."""
SAMPLES = 20
UNCOUNTED = 9_999_999_999
"""The number of a line that only shows that a shipper is there."""


class Report(msgspec.Struct):
    """What came."""

    records: int
    """Lines, repeated ones as often as they came."""
    missing: list[int]
    """Of the numbers up to the highest one those that did not come."""
    duplicated: int
    size: int
    """Bytes, without HTTP's heads."""
    samples: list[str]
    """Some of the records, as they came."""
    latencies: list[int]
    """Nanoseconds from the writing of a line to its acknowledgement, in order, where lines say when they were
    written."""


@dataclass(slots=True)
class Received:
    """Everything, and how much of it there is by now."""

    progress: mmap.mmap
    pieces: list[tuple[int, bytes]] = field(default_factory=list)
    """The time of the acknowledgement, and the bytes."""
    records: int = 0

    def add(self, data: bytes, before: bytes = b"") -> None:
        """Count what has come; `before` are the last bytes of the piece before, if records can be cut."""
        self.records += (before + data).count(MARK) if before else data.count(MARK)
        self.pieces.append((time.monotonic_ns(), data))
        self.progress[:8] = struct.pack("q", self.records)


def http(connection: socket.socket, received: Received) -> None:
    """Requests with a length, one after the other; each is answered once it is whole."""
    with connection, connection.makefile("rb", buffering=PIECE) as stream:
        while stream.readline():
            length = 0
            while (line := stream.readline()) != b"\r\n":
                name, _, value = line.lower().partition(b":")
                if name == b"content-length":
                    length = int(value)
                elif name == b"expect":
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = stream.read(length)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            received.add(body)


def tcp(connection: socket.socket, received: Received) -> None:
    """A stream."""
    with connection:
        end = b""
        while data := connection.recv(PIECE):
            received.add(data, end)
            end = data[1 - len(MARK) :]


def report(received: Received, *, whole: bool) -> Report:
    """Go through everything. `whole`: no record is cut between two pieces."""
    pieces = received.pieces if whole else [(0, b"".join(data for _, data in received.pieces))]
    counts: Counter[bytes] = Counter()
    latencies: list[int] = []
    samples: list[str] = []
    for index, (arrived, data) in enumerate(pieces):
        counts.update(NUMBER.findall(data))
        latencies += [arrived - int(written) for written in WRITTEN.findall(data)]
        if len(samples) < SAMPLES and (index % 7 == 0 or len(pieces) < SAMPLES):
            start = data.find(b"\n", len(data) // 2) + 1
            samples.append(data[start : data.find(b"\n", start) + 1 or None].decode("utf-8", "replace"))
    numbers = {number for number in map(int, counts) if number < UNCOUNTED}
    return Report(
        records=counts.total(),
        missing=sorted(set(range(max(numbers, default=-1) + 1)) - numbers),
        duplicated=counts.total() - len(counts),
        size=sum(len(data) for _, data in pieces),
        samples=[sample for sample in samples if sample],
        latencies=sorted(latencies),
    )


def main() -> None:
    """Receive until SIGTERM."""
    protocol, port, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    with path.open("r+b") as file:
        received = Received(mmap.mmap(file.fileno(), 8))
    serve = {"http": http, "tcp": tcp}[protocol]
    listening = socket.create_server(("127.0.0.1", port), backlog=64)

    def accept() -> None:
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=serve, args=(connection, received), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    ended.wait()
    sys.stdout.buffer.write(msgspec.json.encode(report(received, whole=protocol == "http")))


if __name__ == "__main__":
    main()
