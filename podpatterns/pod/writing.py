"""The timeline as text, for people, or as JSON lines, for machines."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from podpatterns.pod.closing import Check, Verdict, as_json
from podpatterns.pod.events import What
from podpatterns.pod.lanes import Lanes, bad
from podpatterns.pod.model import Kind, PodSpec
from podpatterns.pod.timeline import Entry

Facts = Sequence[tuple[str, Mapping[str, Any]]]
"""For each container of ours, what it says of itself."""

_COLOURS = ("36", "35", "34", "33", "32", "96", "95", "94")
_DIM, _BOLD, _RED, _GREEN, _YELLOW = "2", "1", "31", "32", "33"
_WORDS = {
    What.READY: _GREEN, What.COMPLETED: _GREEN, What.UNREADY: _YELLOW, What.BACK_OFF: _YELLOW, What.STOPPING: _DIM,
    What.FAILED: _RED, What.UNHEALTHY: _RED, What.HOOK_FAILED: _RED, What.KILLED: _RED, What.SIGNALLED: _YELLOW,
    What.FINISHED: _DIM, "Pending": _YELLOW, "Running": _GREEN, "Succeeded": _GREEN, "Failed": _RED,
}  # fmt: skip
_QUIET = 10.0
"""Seconds of silence after which it is said who waits; twice as long each time that nothing changes."""


def in_colour(out: TextIO) -> bool:
    """On a terminal that can, unless NO_COLOR asks for none."""
    return out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def silence(out: TextIO) -> None:
    """Nobody reads it any more: what is still in its buffer has to go somewhere when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, out.fileno())
    os.close(nowhere)


class _Lines:
    """Writes lines until nobody reads them any more."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self.lost = False
        """The reader is gone: `pod run | head`."""

    def _write(self, text: str) -> None:
        if self.lost:
            return
        try:
            self._out.write(text)
            self._out.flush()
        except BrokenPipeError:
            self.lost = True
            silence(self._out)


class TextWriter(_Lines):
    """One line for each entry, behind the lanes of the containers; a summary in blocks."""

    every = 5.0
    """Seconds between two summaries."""

    def __init__(self, pods: Sequence[PodSpec] = (), out: TextIO | None = None, *, colours: bool | None = None) -> None:
        super().__init__(out)
        if isinstance(self._out, io.TextIOWrapper):
            self._out.reconfigure(errors="replace")  # lanes and marks are drawn with what not every encoding has
        self._colours = in_colour(self._out) if colours is None else colours
        self._seen: dict[tuple[str, str | None], str] = {}
        self._lanes = Lanes(pods)
        self._several = len(pods) != 1
        self._kinds = {(spec.name, each.name): each.kind for spec in pods for each in spec.containers}
        names = [*(self._who(*key) for key in self._kinds), *(spec.name for spec in pods)]
        self._width = min(32, max(map(len, names), default=28))
        self._headed = False
        self._silence, self._patience = 0.0, _QUIET

    # --- the timeline ---------------------------------------------------------------------------------------------

    def entry(self, entry: Entry) -> None:
        """A line of the timeline."""
        if not self._headed and entry.what is not What.NOTE:
            self._headed = True
            for line in self._head():
                self._print(line)
        self._silence, self._patience = 0.0, _QUIET
        self._print(self.line(entry))

    def line(self, entry: Entry) -> str:
        """The text of an entry."""
        time = self._paint(f"{entry.at:8.2f}s", _DIM)
        if entry.what is What.NOTE:
            return f"{time}  {self._paint('note:', _YELLOW)} {entry.detail}"
        prefix = f"{time}  {self._signs(entry)}{self._name(entry.pod, entry.container)}"
        if entry.what is None:
            return f"{prefix} {self._paint('│', _DIM)} {entry.detail}"
        word, more = entry.what.value, f": {entry.detail}" if entry.detail else ""
        if entry.what is What.PHASE:
            word, more = entry.detail, ""
        colour = _RED if bad(entry) else _WORDS.get(word if entry.what is What.PHASE else entry.what, "")
        return f"{prefix}   {self._paint(word, colour)}{more}"

    def _head(self) -> list[str]:
        if not self._lanes.shown:
            return []
        width = 2 * sum(1 for _ in self._lanes.head())
        lines = []
        for pieces, key in self._lanes.head():
            drawn = "".join(self._paint(piece, self._colour(*owner)) if owner else piece for piece, owner in pieces)
            line = "─" * (width - sum(len(piece) for piece, _ in pieces))
            kind = "" if self._kinds[key] is Kind.MAIN else self._paint(f" {self._kinds[key].value}", _DIM)
            lines.append(f"{'':11}{drawn}{self._paint(line + ' ' + self._who(*key), self._colour(*key))}{kind}")
        return lines

    def _signs(self, entry: Entry) -> str:
        if not self._lanes.shown:
            return ""
        row = self._lanes.row(entry)
        return "".join(f"{self._paint(sign, _DIM if sign == '·' else self._colour(*key))} " for sign, key in row) + " "

    def _who(self, pod: str, container: str | None) -> str:
        return container or pod if not self._several else "/".join(part for part in (pod, container) if part)

    def _name(self, pod: str, container: str | None) -> str:
        return self._paint(f"{self._who(pod, container):<{self._width}}", self._colour(pod, container))

    # --- how things stand -----------------------------------------------------------------------------------------

    def summary(self, pods: Sequence[Mapping[str, Any]], facts: Facts, look: Sequence[str]) -> None:
        """How things stand; `pods` as `live.standing` gives them."""
        self._silence += self.every
        if self._silence >= self._patience:
            self._patience *= 2
            for pod in pods:
                for each in pod["containers"]:
                    if each["held_up"] and each["why"]:
                        name = self._name(pod["pod"], each["name"])
                        self._print(f"{'':11}{self._paint('still', _YELLOW)} {name} {each['state']}: {each['why']}")
        if not facts and not look:
            return
        self._print("")
        for container, found in facts:
            said = ", ".join(f"{name} {value}" for name, value in found.items())
            self._print(f"  {container:<{self._width}} {said}")
        for line in look:
            self._print(f"  → {line}")
        self._print("")

    def closing(self, verdicts: Sequence[Verdict], look: Sequence[str]) -> None:
        """What became of everything."""
        self._print("")
        width = max((len(f"{verdict.pod}/{verdict.container}") for verdict in verdicts), default=0)
        for verdict in verdicts:
            who = f"{verdict.pod}/{verdict.container}"
            code = "-" if verdict.exit_code is None else verdict.exit_code
            times = f", {verdict.restarts} restart{'s' if verdict.restarts != 1 else ''}" if verdict.restarts else ""
            self._print(f"  {self._mark(verdict)} {who:<{width}}  exit code {code}{times}, {verdict.reason}")
            for check in verdict.checks:
                more = f": {check.detail}" if check.detail else ""
                self._print(f"         {self._mark(check)} {check.name}{more}")
        for line in look:
            self._print(f"  → {line}")
        faults = [(verdict, fault) for verdict in verdicts for fault in verdict.faults]
        if faults:
            self._print(self._paint("\nNot everything did what it should:", _RED))
            for verdict, fault in faults:
                self._print(f"  {verdict.pod}/{verdict.container} {fault}")
        else:
            self._print(self._paint("\nEvery container did what it should.", _GREEN))

    def _mark(self, judged: Verdict | Check) -> str:
        return self._paint("ok    ", _GREEN) if judged.ok else self._paint("FAILED", _RED)

    def close(self) -> None:
        """Nothing more is written."""

    # --- colours --------------------------------------------------------------------------------------------------

    def _colour(self, pod: str, container: str | None) -> str:
        if container is None:
            return _BOLD
        return self._seen.setdefault((pod, container), _COLOURS[len(self._seen) % len(_COLOURS)])

    def _paint(self, text: str, colour: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if colour and self._colours else text

    def _print(self, text: str) -> None:
        self._write(f"{text}\n")


class JsonWriter(_Lines):
    """One JSON object for each line: `{"type": "event" | "output" | "summary" | "closing", …}`."""

    every = 5.0

    def entry(self, entry: Entry) -> None:
        """A line of the timeline."""
        common = {"at": round(entry.at, 3), "pod": entry.pod, "container": entry.container}
        if entry.what is None:
            self._print({"type": "output", **common, "stream": entry.stream, "line": entry.detail})
        else:
            self._print(
                {"type": "event", **common, "what": entry.what.value, "detail": entry.detail, "code": entry.code}
            )

    def summary(self, pods: Sequence[Mapping[str, Any]], facts: Facts, look: Sequence[str]) -> None:
        """How things stand."""
        said = {name: dict(found) for name, found in facts}
        self._print({"type": "summary", "pods": list(pods), "facts": said, "look": list(look)})

    def closing(self, verdicts: Sequence[Verdict], look: Sequence[str]) -> None:
        """What became of everything."""
        self._print({"type": "closing", **as_json(list(verdicts)), "look": list(look)})

    def close(self) -> None:
        """Nothing more is written."""

    def _print(self, value: Mapping[str, Any]) -> None:
        self._write(f"{json.dumps(value, ensure_ascii=False, default=str)}\n")


Writer = TextWriter | JsonWriter


def writer(output: str, pods: Sequence[PodSpec] = ()) -> Writer:
    """For `text` or `json`; on a terminal, where rich is installed, with a panel that is refreshed in place."""
    if output == "json":
        return JsonWriter()
    if in_colour(sys.stdout):
        try:
            from podpatterns.pod.panel import PanelWriter
        except ModuleNotFoundError:  # the extra `pod` brings rich
            return TextWriter(pods)
        return PanelWriter(pods)
    return TextWriter(pods)
