"""What the pages of the documentation share that benchmarks write."""

from __future__ import annotations

import math
import os
import platform
import re
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "benchmarks"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown; the first column to the left, all others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float, digits: int = 0) -> str:
    """For a cell; empty if it was not measured."""
    return "" if math.isnan(value) else f"{value:,.{digits}f}"


def machine() -> str:
    """What it ran on."""
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text("utf-8"))
    release = ".".join(platform.release().split(".")[:2])
    return f"{os.cpu_count()} cores of {found[1] if found else platform.machine()}, Linux {release}"
