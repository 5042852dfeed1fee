"""Loki."""

from __future__ import annotations

import json
from collections.abc import Mapping

from podpatterns.testing.server import Answer, Seen
from podpatterns.testing.stores.store import FakeStore, need


class FakeLoki(FakeStore):
    """Loki's push API in JSON.

    Strict: at least one label, names and values of labels, times as text of digits, lines as text, no empty stream.
    As Loki does, it keeps equal entries of a stream once, and stores what is valid of a push that it answers with 400;
    it names what it has ignored of the last stream that had something, at most ten entries, as Loki does.
    `entries` are (labels, nanoseconds, line); `records` are the lines that are JSON.
    """

    PATH = "/loki/api/v1/push"

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[tuple[dict[str, str], int, str]] = []

    def store(self, seen: Seen) -> Answer:
        """A push."""
        complaint = b""
        for stream in json.loads(seen.body)["streams"]:
            need(stream.keys() == {"stream", "values"} and stream["values"], "a stream has labels and values")
            labels = stream["stream"]
            need(labels, "at least one label pair is required per stream")
            for name, text in labels.items():
                need(name.replace("_", "a").isalnum() and not name[0].isdigit(), f"bad label name {name}")
                need(isinstance(text, str) and text, f"bad value of label {name}")
            bad: list[str] = []
            for when, line in stream["values"]:
                need(isinstance(when, str) and when.isdigit() and len(when) == 19, f"bad time {when}")
                need(isinstance(line, str), "a line is text")
                try:
                    record = json.loads(line)
                except ValueError:
                    record = {"message": line}
                if self.refuse(record):
                    bad.append(when)
                elif (labels, int(when), line) not in self.entries:
                    self.entries.append((labels, int(when), line))
                    self.records.append(record)
            if bad:
                complaint = self.complaint(bad, len(stream["values"]), labels)
        return Answer(400, complaint) if complaint else Answer(204)

    def complaint(self, bad: list[str], total: int, labels: Mapping[str, str]) -> bytes:
        """What is said about a stream of which something was ignored; `bad` are nanoseconds."""
        from datetime import UTC, datetime

        lines = ""
        for when in bad[:10]:
            second = f"{datetime.fromtimestamp(int(when[:-9]), UTC):%Y-%m-%d %H:%M:%S}"
            fraction = f".{when[-9:]}".rstrip("0").rstrip(".")
            lines += f"entry with timestamp {second}{fraction} +0000 UTC ignored, reason: 'entry too far behind',\n"
        stream = ", ".join(f'{name}="{text}"' for name, text in labels.items())
        return f"{lines}user 'fake', total ignored: {len(bad)} out of {total} for stream: {{{stream}}}".encode()
