"""`python -m tests.adapter.bomb [LINES]`: ten million names, and as many values of a tag; memory stays in bounds."""

from __future__ import annotations

import sys

from podpatterns.adapter.budget import Budget
from podpatterns.adapter.store import Shape
from tests.adapter.bomb.attack import explode, explode_otlp, names, tags

count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
for what, lines in (("names", names(count)), ("values of a tag", tags(count))):
    found = explode(lines, Shape())
    print(
        f"{count:,} {what}: {found.store.budget.taken:,} series, "
        f"{sum(found.tally.overflowed.values()):,} samples overflowed, "
        f"{found.grown / 1e6:.0f} MB more, {count / found.seconds:,.0f} lines per CPU-second"
    )
    assert found.tally.lines == count
    assert found.grown < 60e6, "the budget of 20,000 series is some 10 MB, and their page and texts as much again"

shape = Shape()
streams, overflowed, grown, seconds = explode_otlp(count, Budget(shape.budget, shape.budget_per_metric))
print(
    f"{count:,} values of an attribute: {streams.count:,} series, {sum(overflowed.values()):,} points overflowed, "
    f"{grown / 1e6:.0f} MB more, {count / seconds:,.0f} points per CPU-second"
)
assert sum(overflowed.values()) == count - streams.count
assert grown < 60e6
