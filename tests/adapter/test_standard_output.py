"""Laws of standard output: whoever writes to it, each line comes whole, and nobody waits for a reader for ever."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from podpatterns.adapter import standard_output
from podpatterns.adapter.standard_output import LineWriter


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A pipe in the place of standard output; the end to read from."""
    source, target = os.pipe()
    monkeypatch.setattr(standard_output, "_STDOUT", target)
    yield source
    os.close(target)
    os.close(source)


def write_all(writer: LineWriter, data: bytes) -> None:
    while data:
        data = data[writer.write(data) :]


def test_lines_of_several_do_not_mix(pipe: int) -> None:
    """Also those that are longer than a pipe takes at once, or than it holds; each writer's come in their order."""
    lengths = random.Random(7)
    sent = {
        letter: [letter * lengths.choice([1, 50, 4096, 5000, 70_000]) + f"{number}" for number in range(60)]
        for letter in "abcd"
    }
    texts = ["".join(f"{line}\n" for line in lines).encode() for lines in sent.values()]
    threads = [threading.Thread(target=write_all, args=(LineWriter(), text)) for text in texts]
    for thread in threads:
        thread.start()
    received = bytearray()
    while len(received) < sum(map(len, texts)):
        received += os.read(pipe, 65_536)
    for thread in threads:
        thread.join()
    lines = received.decode().splitlines()
    for letter, wanted in sent.items():
        assert [line for line in lines if line.startswith(letter)] == wanted


def test_who_is_inside_of_a_line_keeps_the_turn(pipe: int) -> None:
    """Until it ends, or until the writer has gone: then the line is ended for it."""
    first, second = LineWriter(), LineWriter()
    long = b"x" * 100_000 + b"\n"
    sent = first.write(long)
    assert 0 < sent < len(long)
    assert first.write(long[sent:]) == 0
    assert second.write(b"other\n") == 0
    received = os.read(pipe, sent)
    first.close()
    assert second.write(b"other\n") == 6
    assert received + os.read(pipe, 100) == b"x" * sent + b"\nother\n"
    assert first.write(b"more\n") == 0


def test_a_writer_that_is_closed_while_it_waits_lets_go(pipe: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In whichever moment that is."""
    monkeypatch.setattr(standard_output, "PATIENCE", 0.01)
    for _ in range(30):
        writer = LineWriter()
        thread = threading.Thread(target=lambda each=writer: [each.write(b"x" * 70_000) for _ in range(5)])
        thread.start()
        writer.close()
        thread.join()
        while not LineWriter().write(b"next\n"):
            os.read(pipe, 1 << 20)


def test_a_failure_in_the_middle_is_told_once(pipe: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written counts; who writes on hears of the failure then."""
    real, faults = os.write, iter([False, True, True])

    def write(descriptor: int, data: bytes) -> int:
        if next(faults, False):
            raise BrokenPipeError
        return real(descriptor, data)

    monkeypatch.setattr(standard_output.os, "write", write)
    writer, data = LineWriter(), b"line\n" * 2000
    sent = writer.write(data)
    assert sent == 4095
    with pytest.raises(BrokenPipeError):
        writer.write(data[sent:])
    write_all(writer, data[sent:])
    assert os.read(pipe, len(data)) == data


CONFIG = """\
runtime: {{admin: "off", log_level: error}}
adapter:
  logs:
  - {{type: stdin, format: text}}
  - {{type: file, path: {path}, format: text}}
  inputs:
  - {{type: statsd, listen: "127.0.0.1:0"}}
  outputs:
  - {{type: json, interval: 100ms}}
  - {{type: cloudwatch, namespace: Shop, interval: 100ms}}
"""


def test_logs_and_metrics_share_it(tmp_path: Path) -> None:
    """Every line that comes out of a process is a whole object, though two logs and two outputs write at once."""
    path = tmp_path / "app.log"
    path.write_text("".join(f"{'f' * 9000} {number}\n" for number in range(500)))
    (tmp_path / "adapter.yaml").write_text(CONFIG.format(path=path))
    command = [sys.executable, "-m", "podpatterns", "run", str(tmp_path / "adapter.yaml")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        source, text = process.stdin, b"".join(b"%s %d\n" % (b"s" * 9000, number) for number in range(500))
        writer = threading.Thread(target=lambda: (source.write(text), source.flush()))
        writer.start()
        found = {"f": 0, "s": 0, "metric": 0, "cloudwatch": 0}
        while not all(found.values()) or found["f"] < 500 or found["s"] < 500:
            record = json.loads(process.stdout.readline())
            kind = record["message"][0] if "message" in record else "cloudwatch" if "_aws" in record else "metric"
            found[kind] += 1
        writer.join()
        process.terminate()
        for line in process.stdout:
            json.loads(line)
        assert process.wait(20) == 0
