"""The timeline as text, for people, or as JSON lines, for machines."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from podpatterns.pod.closing import Verdict, as_json
from podpatterns.pod.events import What
from podpatterns.pod.timeline import Entry

_COLOURS = ("36", "35", "34", "33", "32", "96", "95", "94")
_BAD = {What.FAILED, What.UNHEALTHY, What.HOOK_FAILED, What.KILLED, What.BACK_OFF}
_GOOD = {What.READY, What.COMPLETED}
_ALIGN = 28


class _Lines:
    """Writes lines until nobody reads them any more."""

    def __init__(self, out: TextIO | None) -> None:
        self._out = out or sys.stdout
        self.lost = False
        """The reader is gone: `pod run | head`."""

    def _write(self, line: str) -> None:
        if self.lost:
            return
        try:
            self._out.write(f"{line}\n")
            self._out.flush()
        except BrokenPipeError:
            self.lost = True
            # What is still in the buffer has to go somewhere when the interpreter ends.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._out.fileno())
            os.close(nowhere)


class TextWriter(_Lines):
    """One line for each entry; a summary in blocks."""

    every = 5.0
    """Seconds between two summaries."""

    def __init__(self, out: TextIO | None = None, *, colours: bool | None = None) -> None:
        super().__init__(out)
        self._colours = self._out.isatty() if colours is None else colours
        self._seen: dict[str, str] = {}

    def entry(self, entry: Entry) -> None:
        """A line of the timeline."""
        self._print(self.line(entry))

    def line(self, entry: Entry) -> str:
        """The text of an entry."""
        who = "/".join(part for part in (entry.pod, entry.container) if part)
        prefix = f"{entry.at:8.2f}s  {self._paint(f'{who:<{_ALIGN}}', self._colour(who))}"
        if entry.what is None:
            return f"{prefix} │ {entry.detail}"
        if entry.what is What.NOTE:
            return f"{entry.at:8.2f}s  note: {entry.detail}"
        colour = "31" if self._bad(entry) else "32" if entry.what in _GOOD else ""
        word = entry.detail if entry.what is What.PHASE else entry.what.value
        more = f": {entry.detail}" if entry.detail and entry.what is not What.PHASE else ""
        return f"{prefix}   {self._paint(word, colour)}{more}"

    def summary(self, facts: Sequence[tuple[str, Mapping[str, Any]]], look: Sequence[str]) -> None:
        """How things stand."""
        if not facts and not look:
            return
        self._print("")
        for container, found in facts:
            self._print(f"  {container:<{_ALIGN}} " + ", ".join(f"{name} {value}" for name, value in found.items()))
        for line in look:
            self._print(f"  → {line}")
        self._print("")

    def closing(self, verdicts: Sequence[Verdict], look: Sequence[str]) -> None:
        """What became of everything."""
        self._print("")
        for verdict in verdicts:
            who = f"{verdict.pod}/{verdict.container}"
            code = "-" if verdict.exit_code is None else verdict.exit_code
            mark = self._paint("ok    ", "32") if verdict.ok else self._paint("FAILED", "31")
            times = f", {verdict.restarts} restart{'s' if verdict.restarts != 1 else ''}" if verdict.restarts else ""
            self._print(f"  {mark} {who:<{_ALIGN}} exit code {code}{times}, {verdict.reason}")
            for check in verdict.checks:
                sign = self._paint("ok    ", "32") if check.ok else self._paint("FAILED", "31")
                self._print(
                    f"         {sign} {check.name}: {check.detail}" if check.detail else f"         {sign} {check.name}"
                )
        for line in look:
            self._print(f"  → {line}")
        bad = [(verdict, fault) for verdict in verdicts for fault in verdict.faults]
        if bad:
            self._print(self._paint("\nNot everything did what it should:", "31"))
            for verdict, fault in bad:
                self._print(f"  {verdict.pod}/{verdict.container} {fault}")
        else:
            self._print(self._paint("\nEvery container did what it should.", "32"))

    def close(self) -> None:
        """Nothing more is written."""

    def _bad(self, entry: Entry) -> bool:
        return entry.what in _BAD or (entry.what is What.ENDED and entry.code not in (0, 143))

    def _colour(self, who: str) -> str:
        return self._seen.setdefault(who, _COLOURS[len(self._seen) % len(_COLOURS)]) if self._colours else ""

    def _paint(self, text: str, colour: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if colour and self._colours else text

    def _print(self, text: str) -> None:
        self._write(text)


class JsonWriter(_Lines):
    """One JSON object for each line: `{"type": "event" | "output" | "summary" | "closing", …}`."""

    every = 5.0

    def __init__(self, out: TextIO | None = None) -> None:
        super().__init__(out)

    def entry(self, entry: Entry) -> None:
        """A line of the timeline."""
        common = {"at": round(entry.at, 3), "pod": entry.pod, "container": entry.container}
        if entry.what is None:
            self._print({"type": "output", **common, "stream": entry.stream, "line": entry.detail})
        else:
            self._print(
                {"type": "event", **common, "what": entry.what.value, "detail": entry.detail, "code": entry.code}
            )

    def summary(self, facts: Sequence[tuple[str, Mapping[str, Any]]], look: Sequence[str]) -> None:
        """How things stand."""
        self._print({"type": "summary", "facts": {name: dict(found) for name, found in facts}, "look": list(look)})

    def closing(self, verdicts: Sequence[Verdict], look: Sequence[str]) -> None:
        """What became of everything."""
        self._print({"type": "closing", **as_json(list(verdicts)), "look": list(look)})

    def close(self) -> None:
        """Nothing more is written."""

    def _print(self, value: Mapping[str, Any]) -> None:
        self._write(json.dumps(value, ensure_ascii=False, default=str))


Writer = TextWriter | JsonWriter


def writer(output: str) -> Writer:
    """For `text` or `json`; on a terminal, where rich is installed, with a panel that is refreshed in place."""
    if output == "json":
        return JsonWriter()
    if sys.stdout.isatty():
        try:
            from podpatterns.pod.panel import PanelWriter
        except ModuleNotFoundError:  # the extra `pod` brings rich
            return TextWriter()
        return PanelWriter()
    return TextWriter()
