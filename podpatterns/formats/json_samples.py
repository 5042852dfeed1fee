"""Samples as JSON, one object for each line: for whoever reads no format of metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat
from math import isfinite

import msgspec

from podpatterns.formats.families import Family, labels_of
from podpatterns.formats.numbers import number
from podpatterns.formats.points import names


def render(families: Iterable[Family], now: float) -> Iterator[bytes]:
    """A line for each sample: `name`, `labels`, `value`, `time` in seconds since 1970, `kind`, and `unit` if any.

    What is not finite is text, `"NaN"` and `"+Inf"`, since JSON has no number for it.
    """
    encode = msgspec.json.encode
    for family in families:
        tail = b',"kind":' + encode(family.kind)
        if family.unit:
            tail += b',"unit":' + encode(family.unit)
        stamps: Iterable[float | None] = family.stamps if family.stamps is not None else repeat(None)
        for name, text, value, stamp in zip(names(family), family.blocks, family.values, stamps, strict=False):
            yield b'{"name":%s,"labels":%s,"value":%s,"time":%s%s}\n' % (
                encode(name),
                encode(dict(labels_of(text))),
                encode(value if isfinite(value) else number(value)),
                encode(round(now if stamp is None else stamp, 3)),
                tail,
            )
