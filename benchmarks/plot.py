"""Horizontal bars as SVG, on a panel of its own, so that it can be read on a light page and on a dark one. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

COLOURS = ("#0969da", "#8c959f", "#2da44e", "#d4a72c")
WIDTH, LEFT, RIGHT = 860, 250, 60
BAR, GAP, TOP = 9, 14, 78

FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"


@dataclass(frozen=True, slots=True)
class Bar:
    """One group: a title and a value for each series."""

    title: str
    values: dict[str, float]


def plot(title: str, groups: list[Bar], most: float = 2.0) -> str:
    """Groups of bars beside a line at 1. The axis ends at `most`; a longer bar is cut, and says how long it is."""
    series = list(dict.fromkeys(name for group in groups for name in group.values))
    group_height = BAR * len(series) + GAP
    height = TOP + group_height * len(groups) + 20
    scale = (WIDTH - LEFT - RIGHT) / most
    frame = f'viewBox="0 0 {WIDTH} {height}" font-family="{FONT}" role="img" aria-label="{escape(title)}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {frame}>',
        f'<rect width="{WIDTH}" height="{height}" rx="12" fill="#ffffff"/>',
        f'<text x="20" y="32" font-size="16" font-weight="600" fill="#1b1f24">{escape(title)}</text>',
    ]
    for index, name in enumerate(series):
        x = LEFT + index * 120
        parts.append(f'<rect x="{x}" y="46" width="12" height="12" rx="2" fill="{COLOURS[index]}"/>')
        parts.append(f'<text x="{x + 18}" y="57" font-size="13" fill="#1b1f24">{escape(name)}</text>')
    for tick in sorted({1.0, *(most * quarter / 4 for quarter in range(1, 5))}):
        x = round(LEFT + tick * scale)
        dash = "" if tick == 1.0 else ' stroke-dasharray="3 4"'
        parts.append(f'<path d="M{x} {TOP - 6}V{height - 20}" stroke="#8c959f" stroke-width="1"{dash}/>')
        parts.append(
            f'<text x="{x}" y="{height - 6}" font-size="11" text-anchor="middle" fill="#57606a">{tick:g}</text>'
        )
    for place, group in enumerate(groups):
        y = TOP + place * group_height
        middle = y + BAR * len(series) / 2 + 4
        parts.append(
            f'<text x="{LEFT - 12}" y="{middle:.0f}" font-size="12.5" text-anchor="end" fill="#1b1f24">'
            f"{escape(group.title)}</text>"
        )
        for index, name in enumerate(series):
            value = group.values.get(name, math.nan)
            if math.isnan(value):
                continue
            top, length = y + index * BAR, min(value, most) * scale
            parts.append(
                f'<rect x="{LEFT}" y="{top}" width="{length:.1f}" height="{BAR - 1}" rx="1.5" fill="{COLOURS[index]}"/>'
            )
            if index == 0 or value > most:
                parts.append(
                    f'<text x="{LEFT + length + 4:.1f}" y="{top + 8}" font-size="10" fill="#57606a">{value:.2f}</text>'
                )
    return "\n".join([*parts, "</svg>", ""])
