"""Lines that belong together must reach the transforms together: what stands first, and what an input keeps back."""

from __future__ import annotations

from collections.abc import Sequence

from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.transforms import Gathering, Transform


def leading(transforms: Sequence[Transform]) -> list[Gathering]:
    """The transforms that gather lines, and what has to be done for them; they stand first, and never fail."""
    found: list[Gathering] = []
    last = 0
    for transform in transforms:
        if not isinstance(transform, Gathering):
            break
        found.append(transform)
        if transform.gathers:
            last = len(found)
    return found[:last]


def held(transforms: Sequence[Transform], text: bytes) -> int:
    """How many of the last lines of a text may belong together with lines to come.

    What is in front of them is whole: no group reaches across.
    """
    gathering = leading(transforms)
    if not gathering:
        return 0
    if not any(transform.concerns(text) for transform in gathering):
        return 0
    lines = text.decode("utf-8", "replace").encode().replace(b"\r\n", b"\n").split(b"\n")
    count = cut = len(lines)
    batch = Batch.of(lines)
    batch.place(range(count))
    spans: list[tuple[int, int]] | None = None
    for transform in gathering:
        batch = transform.prepare(batch)
        if spans is None:
            spans = [(place, place) for place in batch.offsets]
        if not transform.gathers or not len(batch):
            continue
        gathered = transform.gather(batch)
        if gathered is None:
            continue
        members, open_from = gathered
        if open_from < len(spans):
            cut = min(cut, spans[open_from][0])
        batch = transform.join(batch, members)
        spans = [(spans[places[0]][0], max(spans[place][1] for place in places)) for places in members]
        # What an open group will say is not known: for those who gather after this one, the text ends in front of it.
        whole = sum(places[0] < open_from for places in members)
        batch = batch.keep([place < whole for place in range(len(members))])
        del spans[whole:]
    for first, last in reversed(spans or []):
        if first < cut <= last:
            cut = first
    return count - cut
