"""Files that several write to at once, while another one takes them away."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from podpatterns.sidecar import replay
from podpatterns.sidecar.durable import append

LINES = 400


def test_several_append_and_one_takes_it_away(tmp_path: Path) -> None:
    """Every line is there whole, once, in what was taken or in what is left: nobody takes another's half-written line
    for a torn one, and nobody writes to a file that has been read already."""
    path, writers, each = tmp_path / "letters", 4, 25
    found: list[str] = []

    def write(name: int) -> None:
        for number in range(each):
            lines = (f"{name} {number} {line} {'x' * (line * 50 % 3000)}\n" for line in range(LINES))
            append(path, "".join(lines).encode())

    threads = [threading.Thread(target=write, args=[name]) for name in range(writers)]
    for thread in threads:
        thread.start()
    taken = tmp_path / "taken"
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            found += replay.take(path, taken).read_text().splitlines()
            taken.unlink()
        os.sched_yield()
    for thread in threads:
        thread.join()
    if path.exists():
        found += path.read_text().splitlines()
    heads = [tuple(map(int, line.split()[:3])) for line in found]
    assert sorted(heads) == [
        (name, number, line) for name in range(writers) for number in range(each) for line in range(LINES)
    ]
    assert all(line.split(" ", 3)[3] == "x" * (head[2] * 50 % 3000) for line, head in zip(found, heads, strict=True))
