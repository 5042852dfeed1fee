"""Writing samples as the exposition formats have them, a whole family at a time."""

from __future__ import annotations

from collections.abc import Sequence

from podpatterns.formats.families import is_metric_name, quoted
from podpatterns.formats.numbers import column


def sample_lines(
    name: str,
    blocks: Sequence[str],
    values: Sequence[float],
    suffixes: Sequence[str] | None = None,
    ends: Sequence[str] | None = None,
) -> str:
    """The lines of some samples, each with its end of line.

    Args:
        name: what every sample is called.
        blocks: the labels of each.
        values: the value of each.
        suffixes: what stands behind the name of each; None for nothing.
        ends: what stands behind each value, with the end of line; None for that alone.
    """
    count = len(values)
    if not is_metric_name(name):
        # The name stands in quotes, within the block.
        suffixes = suffixes or [""] * count
        blocks = [quoted_series(name + suffix, text) for suffix, text in zip(suffixes, blocks, strict=True)]
        names = [""] * count
    else:
        names = [name] * count if suffixes is None else [name + suffix for suffix in suffixes]
    # One join of one flat list: a quarter of what a text for each line costs.
    parts = [" "] * (5 * count)
    parts[0::5] = names
    parts[1::5] = blocks
    parts[3::5] = column(values)
    parts[4::5] = ["\n"] * count if ends is None else ends
    return "".join(parts)


def quoted_series(name: str, text: str) -> str:
    """A series whose name is not of the old alphabet: `{"http.requests",code="200"}`."""
    return f"{{{quoted(name)},{text[1:]}" if text else f"{{{quoted(name)}}}"


def shown_name(name: str) -> str:
    """A name as HELP, TYPE and UNIT lines have it."""
    return name if is_metric_name(name) else quoted(name)
