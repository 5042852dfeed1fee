"""The exposition formats accept what they should and refuse what they should, and say where."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from podpatterns.formats import openmetrics, prometheus
from podpatterns.formats.exposition import Malformed
from tests.formats.exposition_cases import (
    OPENMETRICS_ALLOWED,
    OPENMETRICS_FORBIDDEN,
    TEXT_ALLOWED,
    TEXT_FORBIDDEN,
    TEXT_TOLERATED,
)


def hold(about: str) -> None:
    """Every page of the table about this is read, or refused at its place."""
    for text in OPENMETRICS_ALLOWED[about]:
        families = openmetrics.parse(f"{text}# EOF\n")
        assert openmetrics.parse(f"{text}# EOF") == families or "n" in text.lower(), text
        openmetrics.parse(openmetrics.render(families))
    for text, line, column in OPENMETRICS_FORBIDDEN[about]:
        with pytest.raises(Malformed) as error:
            openmetrics.parse(f"{text}# EOF\n")
        assert (text, error.value.line, error.value.column) == (text, line, column), error.value


@pytest.mark.holds("OpenMetrics, grammar", "places")
def test_the_grammar() -> None:
    """One blank between the parts, labels without blanks, decimal numbers, and names in quotes where they need it."""
    hold("grammar")


@pytest.mark.holds("OpenMetrics, metadata", "places")
def test_the_metadata() -> None:
    """Once for each family, in front of its samples, and no family takes the names of another one's samples."""
    hold("metadata")


@pytest.mark.holds("OpenMetrics, types", "places")
def test_the_types() -> None:
    """Suffixes, labels and values of each type."""
    hold("types")


@pytest.mark.holds("OpenMetrics, histograms", "places")
def test_histograms() -> None:
    """Whole, in order, and with a sum only where it can be one of a counter."""
    hold("histograms")


@pytest.mark.holds("OpenMetrics, order", "places")
def test_the_order() -> None:
    """No family, series or time stands apart from its like."""
    hold("order")


@pytest.mark.holds("OpenMetrics, exemplars", "places")
def test_exemplars() -> None:
    """128 characters of labels, a number, and a time that is one."""
    hold("exemplars")


@pytest.mark.holds("OpenMetrics, end")
@pytest.mark.parametrize(
    ("page", "line"),
    [("", 1), ("a 1\n", 2), ("a 1\n# EOF\nb 1\n", 3), ("a 1\n# EOF\n# EOF\n", 3), ("a 1\n# EOF \n", 2), ("# eof\n", 1)],
)
def test_the_end(page: str, line: int) -> None:
    """A page that was cut off never looks whole; the newline behind # EOF may be missing."""
    with pytest.raises(Malformed) as error:
        openmetrics.parse(page)
    assert error.value.line == line
    assert openmetrics.parse("a 1\n# EOF") == openmetrics.parse("a 1\n# EOF\n")


@pytest.mark.holds("text format", "places")
def test_the_text_format() -> None:
    """Blanks and comments almost anywhere, families in any order; what is broken has its place."""
    for text in (*TEXT_ALLOWED, *TEXT_TOLERATED):
        prometheus.parse(prometheus.render(prometheus.parse(text)))
    for text, line, column in TEXT_FORBIDDEN:
        with pytest.raises(Malformed) as error:
            prometheus.parse(text)
        assert (text, error.value.line, error.value.column) == (text, line, column), error.value


@pytest.mark.holds("places")
@pytest.mark.parametrize("parse", [prometheus.parse, openmetrics.parse])
def test_the_rest_of_a_page_is_read(parse) -> None:
    """A mistake costs the lines that it is in, whatever they are, also where the series are known already."""
    blocks = prometheus.Blocks()
    page = 'a{b="1"} 1\na{b="2"} x\na{b="3"} 3\nc{d=e} 4\nf 5\n# EOF\n'
    for _ in range(2):
        problems: list[Malformed] = []
        families = parse(page, blocks, problems)
        assert [(each.line, each.column) for each in problems] == [(2, 10), (4, 3)]
        assert [(family.name, family.values) for family in families] == [("a", [1.0, 3.0]), ("f", [5.0])]


@pytest.mark.e2e
@pytest.mark.holds("text format")
def test_promtool_agrees() -> None:
    """What we read promtool reads, and what it refuses we refuse, row by row of the table."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    promtool = shutil.which("promtool", path=path)
    assert promtool, "there is no promtool; tests/e2e/setup.sh takes it out of Debian's package"
    for expected, pages in (("read", TEXT_ALLOWED), ("refused", [page for page, _, _ in TEXT_FORBIDDEN])):
        for page in pages:
            done = subprocess.run(
                [promtool, "check", "metrics"], input=page, capture_output=True, text=True, check=False
            )
            verdict = VERDICTS.get(done.returncode)
            assert verdict is not None, f"promtool gives no verdict: it ended with {done.returncode}: {done.stderr}"
            assert (page, verdict) == (page, expected), done.stderr
            assert (verdict == "refused") is ("error while linting" in done.stderr), done.stderr


VERDICTS = {0: "read", 3: "read", 1: "refused"}
"""By exit status; 3 is an opinion on names and help texts. A promtool that was killed, or found no memory for a thread,
has any other, and has said nothing about the page."""
