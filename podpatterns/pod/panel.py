"""How things stand, in a panel at the bottom of a terminal, with the timeline scrolling above it; needs rich.

Lines are written a few hundredths of a second after they have come, together with the panel below them: a container
that writes ten thousand lines a second is to cost no more on a terminal than in a file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from podpatterns.pod.closing import Verdict
from podpatterns.pod.model import PodSpec
from podpatterns.pod.writing import Facts, TextWriter

_PHASES = {"Pending": "yellow", "Running": "green", "Succeeded": "green", "Failed": "red", "Terminating": "yellow"}
_TOGETHER = 0.04
"""Seconds for which lines are gathered."""
_EDGE = 3
"""Columns that stay free: the ^C that a terminal shows behind the cursor would begin a new line, and stay."""


class PanelWriter(TextWriter):
    """Writes lines above a panel that is refreshed in place."""

    every = 1.0

    def __init__(self, pods: Sequence[PodSpec] = (), out: TextIO | None = None) -> None:
        super().__init__(pods, out, colours=True)
        self._console = Console(file=self._out)
        self._panel = ""
        self._shown = 0  # rows of the panel that are on the screen
        self._pending: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def summary(self, pods: Sequence[Mapping[str, Any]], facts: Facts, look: Sequence[str]) -> None:
        """Put how things stand into the panel."""
        known = dict(facts)
        parts: list[RenderableType] = [_pod(pod, known, named=len(pods) > 1) for pod in pods]
        parts += [Text(f"→ {line}", style="dim") for line in look]
        title = f"{pods[0]['pod']} · {_headline(pods[0])}" if len(pods) == 1 else f"{len(pods)} pods"
        width = max(20, self._console.width - _EDGE)
        with self._console.capture() as captured:
            self._console.print(Panel(Group(*parts), title=title, title_align="left", border_style="dim", width=width))
        self._panel = captured.get().rstrip("\n")
        self._show()

    def closing(self, verdicts: Sequence[Verdict], look: Sequence[str]) -> None:
        """Remove the panel, and say what became of everything."""
        self.close()
        super().closing(verdicts, look)
        self._show()

    def close(self) -> None:
        """Take the panel away."""
        self._panel = ""
        self._show()

    def _print(self, text: str) -> None:
        self._pending.append(text)
        if self._timer is None:
            try:
                self._timer = asyncio.get_running_loop().call_later(_TOGETHER, self._show)
            except RuntimeError:  # the run is over
                self._show()

    def _show(self) -> None:
        """What is pending, and the panel below it, where the panel was."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        rows = self._panel.count("\n") + 1 if self._panel else 0
        if rows >= self._console.height:
            rows = 0  # no room
        up = f"\033[{self._shown - 1}A" if self._shown > 1 else ""
        erase = f"\r{up}\033[J" if self._shown else ""
        lines = "".join(f"{line}\n" for line in self._pending)
        self._pending.clear()
        self._shown = rows
        if erase or lines or rows:
            self._write(erase + lines + (self._panel if rows else ""))


def _headline(pod: Mapping[str, Any]) -> str:
    lasting = [each for each in pod["containers"] if each["kind"] != "init"]
    phase = "Terminating" if pod["ending"] else pod["phase"]
    ready = sum(each["ready"] for each in lasting)
    speed = f" · {pod['speed']:g} times as fast" if pod["speed"] != 1 else ""
    return f"[{_PHASES[phase]}]{phase}[/] · {ready}/{len(lasting)} ready · {pod['age']:.0f} s{speed}"


def _pod(pod: Mapping[str, Any], facts: Mapping[str, Mapping[str, Any]], *, named: bool) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    bars = any(each["share"] is not None for each in pod["containers"])
    for each in pod["containers"]:
        sign, style = ("●", "green") if each["ready"] else ("…", "yellow") if each["held_up"] else ("✓", "dim")
        said = each["why"] if each["held_up"] and each["why"] else _facts(facts.get(each["name"], {})) or each["state"]
        times = f"↻{each['restarts']}" if each["restarts"] else ""
        share = each["share"]
        bar = (
            [Text("") if share is None else ProgressBar(1.0, share, width=12, complete_style="yellow")] if bars else []
        )
        table.add_row(
            Text(sign, style=style),
            Text(each["name"], style="bold" if each["ready"] else style),
            Text(times, style="yellow"),
            *bar,
            Text(said, style="" if each["ready"] else style, overflow="fold"),
        )
    return Group(Text.from_markup(f"[bold]{pod['pod']}[/] · {_headline(pod)}"), table) if named else table


def _facts(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in found.items())
