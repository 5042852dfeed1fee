"""The live summary as a panel at the bottom of a terminal, with the timeline scrolling above it; needs rich."""

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
from podpatterns.pod.writing import TextWriter


class PanelWriter(TextWriter):
    """Writes lines above a panel that is refreshed in place."""

    every = 1.0

    def __init__(self) -> None:
        super().__init__(io.StringIO(), colours=True)
        self._live = Live(console=Console(), auto_refresh=False, transient=True)
        self._live.start()

    def summary(self, facts: Sequence[tuple[str, Mapping[str, Any]]], look: Sequence[str]) -> None:
        """Put how things stand into the panel."""
        if not facts and not look:
            return
        table = Table.grid(padding=(0, 2))
        for container, found in facts:
            said = ", ".join(f"{name} {value}" for name, value in found.items())
            table.add_row(Text(container, style="bold"), Text(said))
        parts: list[RenderableType] = [table, *(Text(f"→ {line}", style="dim") for line in look)]
        self._live.update(Panel(Group(*parts), title="now", title_align="left"), refresh=True)

    def closing(self, verdicts: Sequence[Verdict], look: Sequence[str]) -> None:
        """Remove the panel, and say what became of everything."""
        self.close()
        super().closing(verdicts, look)

    def close(self) -> None:
        """Give the terminal back."""
        self._live.stop()

    def _print(self, text: str) -> None:
        self._live.console.print(Text.from_ansi(text), highlight=False, soft_wrap=True)
