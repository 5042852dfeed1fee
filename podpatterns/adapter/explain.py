"""What would become of a line: for each one what was read, and the series that come of it, or why it is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator

from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.intake import shown
from podpatterns.adapter.logs import LogConfig, named
from podpatterns.adapter.mapping import Mapper
from podpatterns.adapter.normaliser import Normaliser
from podpatterns.adapter.page import Transform, compose
from podpatterns.adapter.slots import Discard
from podpatterns.adapter.store import Store
from podpatterns.formats import prometheus
from podpatterns.formats.families import Blocks
from podpatterns.formats.lines import clean
from podpatterns.formats.statsd import Line, Refused, Skipped, number, parse
from podpatterns.runtime.schema import component_type

SAMPLE = """\
shop.orders:1|c|#country:ch
shop.orders:1|c|@0.1|#country:ch
shop.basket.size:3|g
shop.basket.size:+1|g
shop.checkout.time:320|ms|#step:pay
shop.visitors:ada|s
shop.orders:NaN|c
"""
"""What is explained where no sample is given."""


def explain(config: AdapterConfig, sample: str | None) -> Iterator[str]:
    """What the health endpoint asks, what becomes of log lines, and of metric lines: each by itself.

    A gauge's change, for instance, starts from zero here.
    """
    if config.health is not None:
        yield from config.health.explain()
    for name, log in named(config.logs):
        yield from _log(name, log, log.sample if sample is None else sample)
    if not config.inputs and not config.mapping:
        return
    transforms = [(component_type(type(each)), each.build()) for each in config.transforms]
    mapper = Mapper(config.mapping, config.mapping_defaults)
    for rule, reason in mapper.unreachable():
        yield f"{rule} of the mapping can never match: {reason}"
    for raw in (SAMPLE if sample is None else sample).splitlines():
        if raw.strip():
            yield from _line(config, mapper, transforms, raw)


def _log(name: str, config: LogConfig, sample: str) -> Iterator[str]:
    """Each record with the lines that it is made of, and what there is to them."""
    output = config.output
    yield f"log {name} from {config.where}: {config.format}, as {output.form} to {output.path or 'standard output'}"
    normaliser = Normaliser(config, time.time)
    lines = clean(sample.rstrip("\n").encode("utf-8", "replace"), 0, limit=config.max_line).text.split(b"\n")
    at = 0
    for count in normaliser.normalise(lines, final=True).lines:
        mine = lines[at : at + count]
        at += count
        for line in mine:
            yield shown(line)
        found = normaliser.normalise(mine, final=True)
        for what in found.notes:
            yield f"    noted     {_NOTES.get(what, what)}"
        yield f"    becomes   {normaliser.render(found).decode().rstrip()}"


_NOTES = {
    "unparsed": "it is not written in the format, and is passed on as it is",
    "joined": "lines that are not written in the format belong to the record before them",
    "time": "its time is none that is known, and stays as it is; see time_format",
    "level": "its level is none that is known, and stays as it is; see levels",
    "inner": "its message is not written as `then` says, and stays as it is",
}


def _line(config: AdapterConfig, mapper: Mapper, transforms: list[tuple[str, Transform]], raw: str) -> Iterator[str]:
    yield shown(raw.encode())
    store = Store(config.series.shape, lambda: 0.0, lambda _metric: None, mapper)
    try:
        line = parse(raw.encode())
        yield f"    read as   {_described(line)}"
        for text in mapper.tried(line.name, line.type):
            yield f"    {text}"
        slot, _ = store.slot(line)
        if isinstance(slot, Discard):
            yield "    dropped   by the rule"
            return
        for text in line.values:
            slot.take(0.0 if line.type == "s" else number(text), text.encode())
    except Refused as refused:
        yield f"    refused   {refused.reason}: {refused}"
        return
    except Skipped as skipped:
        yield f"    skipped   {skipped}"
        return
    page = compose(store.families(), transforms, Blocks())
    for item in page.quarantined:
        yield f"    left out  {item.family}: {item.reason}"
    if not page.families and not page.quarantined:
        yield "    dropped   by the transforms"
    for family in page.families:
        if not family.values:
            yield f"    dropped   {family.name}: by the transforms"
    for text in prometheus.render(each for each in page.families if each.values).decode().splitlines():
        if not text.startswith("# HELP"):
            yield f"    becomes   {text}"


_NOUN = {"c": "counter", "g": "gauge", "ms": "timer (ms)", "h": "histogram", "d": "distribution", "s": "set"}


def _described(line: Line) -> str:
    parts = [f"{_NOUN[line.type]} {line.name}", f"value {', '.join(line.values)}"]
    if line.rate != 1:
        parts.append(f"rate {line.rate:g}, so each counts {line.weight:g}")
    if line.tags:
        parts.append("tags " + ", ".join(f"{name}={value}" for name, value in line.tags))
    if line.stamp is not None:
        parts.append("its timestamp is not used: the value counts from when it is read")
    return "; ".join(parts)
