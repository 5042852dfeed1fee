"""The page of the documentation: what was measured, on what, as tables and as a plot."""

from __future__ import annotations

from benchmarks.sidecar.report import Results


def write_page(results: Results) -> None:
    """Write the page and its plot."""
