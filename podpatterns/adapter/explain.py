"""What would become of a line: for each one what was read, and the series that come of it, or why it is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator

from podpatterns.adapter import samples
from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.intake import shown
from podpatterns.adapter.logs import LogConfig
from podpatterns.adapter.mapping import Mapper
from podpatterns.adapter.naming import named
from podpatterns.adapter.normaliser import Normaliser
from podpatterns.formats.lines import clean


def explain(config: AdapterConfig, sample: str | None) -> Iterator[str]:
    """What the health endpoint asks, what becomes of log lines, and of metric lines: each by itself.

    A gauge's change, for instance, starts from zero here.
    """
    if config.health is not None:
        yield from config.health.explain()
    for name, log in named(config.logs):
        yield from _log(name, log, log.sample if sample is None else sample)
    if not config.inputs and not config.mapping:
        if sample is not None and not config.logs:
            yield "nothing here takes a sample: there are neither inputs nor logs"
        return
    yield from warnings(config)
    try:
        yield from samples.explain(config, sample)
    except samples.Untaken:
        if not config.logs:  # which have taken it
            raise


def warnings(config: AdapterConfig) -> Iterator[str]:
    """What is allowed in the configuration, and can hardly be meant."""
    for rule, reason in Mapper(config.mapping, config.mapping_defaults).unreachable():
        yield f"{rule} of the mapping can never match: {reason}"


def _log(name: str, config: LogConfig, sample: str) -> Iterator[str]:
    """Each record with the lines that it is made of, and what there is to them."""
    output = config.output
    yield f"log {name} from {config.where}: {config.format}, as {output.form} to {output.path or 'standard output'}"
    normaliser = Normaliser(config, time.time)
    lines = clean(sample.rstrip("\n").encode("utf-8", "surrogateescape"), 0, limit=config.max_line).text.split(b"\n")
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
