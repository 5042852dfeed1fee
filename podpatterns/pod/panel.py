"""How things stand, in a panel at the bottom of a terminal, with the timeline scrolling above it; needs rich."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from podpatterns.pod.closing import Verdict
from podpatterns.pod.model import PodSpec
from podpatterns.pod.writing import Facts, TextWriter

_PHASES = {"Pending": "yellow", "Running": "green", "Succeeded": "green", "Failed": "red", "Terminating": "yellow"}


class PanelWriter(TextWriter):
    """Writes lines above a panel that is refreshed in place."""

    every = 1.0

    def __init__(self, pods: Sequence[PodSpec] = ()) -> None:
        super().__init__(pods, io.StringIO(), colours=True)
        self._live = Live(console=Console(), auto_refresh=False, transient=True)
        self._live.start()

    def summary(self, pods: Sequence[Mapping[str, Any]], facts: Facts, look: Sequence[str]) -> None:
        """Put how things stand into the panel."""
        known = dict(facts)
        parts: list[RenderableType] = [_pod(pod, known, named=len(pods) > 1) for pod in pods]
        parts += [Text(f"→ {line}", style="dim") for line in look]
        title = f"{pods[0]['pod']} · {_headline(pods[0])}" if len(pods) == 1 else f"{len(pods)} pods"
        # Not to the edge: the ^C that a terminal shows behind the cursor would begin a new line, and stay.
        width = self._live.console.width - 3
        panel = Panel(Group(*parts), title=title, title_align="left", border_style="dim", width=width)
        self._live.update(panel, refresh=True)

    def closing(self, verdicts: Sequence[Verdict], look: Sequence[str]) -> None:
        """Remove the panel, and say what became of everything."""
        self.close()
        super().closing(verdicts, look)

    def close(self) -> None:
        """Give the terminal back."""
        self._live.stop()

    def _print(self, text: str) -> None:
        self._live.console.print(Text.from_ansi(text), highlight=False, soft_wrap=True)


def _headline(pod: Mapping[str, Any]) -> str:
    lasting = [each for each in pod["containers"] if each["kind"] != "init"]
    phase = "Terminating" if pod["ending"] else pod["phase"]
    ready = sum(each["ready"] for each in lasting)
    speed = f" · {pod['speed']:g} times as fast" if pod["speed"] != 1 else ""
    return f"[{_PHASES[phase]}]{phase}[/] · {ready}/{len(lasting)} ready · {pod['age']:.0f} s{speed}"


def _pod(pod: Mapping[str, Any], facts: Mapping[str, Mapping[str, Any]], *, named: bool) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for each in pod["containers"]:
        sign, style = ("●", "green") if each["ready"] else ("…", "yellow") if each["held_up"] else ("✓", "dim")
        said = each["why"] if each["held_up"] and each["why"] else _facts(facts.get(each["name"], {})) or each["state"]
        times = f"↻{each['restarts']}" if each["restarts"] else ""
        table.add_row(
            Text(sign, style=style),
            Text(each["name"], style="bold" if each["ready"] else style),
            Text(times, style="yellow"),
            Text(said, style="" if each["ready"] else style, overflow="fold"),
        )
    return Group(Text.from_markup(f"[bold]{pod['pod']}[/] · {_headline(pod)}"), table) if named else table


def _facts(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in found.items())
