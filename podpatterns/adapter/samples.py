"""What becomes of a sample of metrics, for people: what was read, the rules that were tried, and what comes of it.

A sample is lines, each of which may be for another input, or a document: a page, a request of OTLP, a pickle. It is a
document where an input reads it as one and its lines mean nothing by themselves; one in each line will do, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy

from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.inputs.logs import LogsConfig
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.intake import shown
from podpatterns.adapter.page import Page, compose, transformed
from podpatterns.adapter.transforms import Explained, Tried
from podpatterns.adapter.trials import Candidate, Trial, Trials, is_text
from podpatterns.errors import PodpatternsError
from podpatterns.formats import prometheus
from podpatterns.formats.families import Blocks, Family
from podpatterns.formats.statsd import Line

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

UNREAD = 5
"""Lines whose reasons are told where no line of a sample is any input's."""

_NO_RULE = "its expression is found nowhere in the line, or a field is missing or has another value"

_NOUN = {"c": "counter", "g": "gauge", "ms": "timer (ms)", "h": "histogram", "d": "distribution", "s": "set"}


class Untaken(PodpatternsError):  # noqa: N818 - named after what happened to the sample
    """No input of a configuration takes a sample."""


def explain(config: AdapterConfig, sample: str | None) -> Iterator[str]:
    """Each line or document with what was read, the rules that were tried, and what comes of it.

    Raises:
        Untaken: why no input takes the sample has been said before, or it is empty.
    """
    trials = Trials(config)
    if sample is None:
        sample = SAMPLE if any(isinstance(each.config, StatsdConfig) for each in trials.takers) else ""
        if not sample:
            yield "give a sample of what the inputs take with --sample, such as lines or a page"
            return
    body = sample.encode("utf-8", "surrogateescape")
    if not body.strip():
        raise Untaken("the sample is empty")
    documents = [trials.document(each, body) for each in trials.readers]
    # Bytes that are no text are a document, if one can be read; else lines with something wrong in them.
    lined = is_text(body) or not any(each.read for each in documents)
    raws = [raw for raw in body.split(b"\n") if raw.strip()] if lined else []
    lines = [[trials.line(each, raw) for each in trials.takers] for raw in raws]
    document = _document(lines, documents)
    if document is None and not any(trial.read for tried in lines for trial in tried):
        # Perhaps there is a document in each line.
        for raw, tried in zip(raws, lines, strict=True):
            tried += [trials.document(each, raw) for each in trials.readers]
    if document is not None:
        yield from _whole(trials, document)
        yield from _others(document, documents)
    elif any(trial.read for tried in lines for trial in tried):
        for raw, tried in zip(raws, lines, strict=True):
            yield from _one(trials, raw, tried)
    else:
        yield from _nobody(trials, documents, raws, lines)
        inputs = ", ".join(each.called for each in (*trials.takers, *trials.readers))
        raise Untaken(f"no input of the configuration takes this sample; there is: {inputs}")


def _document(lines: Sequence[Sequence[Trial]], documents: Iterable[Trial]) -> Trial | None:
    """The input that reads the sample as a whole; None where it is lines, or nothing."""
    read = [any(trial.read for trial in tried) for tried in lines]
    if read and all(any(trial.whole for trial in tried) for tried in lines):
        return None
    best = sorted((each for each in documents if each.read), key=lambda each: not each.whole)
    # A page with mistakes may have some lines that, alone, mean something elsewhere; and lines that are fine no page.
    return best[0] if best and (best[0].whole or sum(read) <= len(read) / 2) else None


# --- lines ------------------------------------------------------------------------------------------------------------


def _one(trials: Trials, raw: bytes, tried: Sequence[Trial]) -> Iterator[str]:
    yield shown(raw)
    chosen = next((trial for trial in tried if trial.read), None)
    if chosen is None:
        yield from _unread(trials, tried, raw)
        return
    if len(tried) > 1:
        yield f"    input     {chosen.by.called}"
    if isinstance(chosen.by.config, LogsConfig):
        yield from _rules_of_logs(trials, chosen.by.config, raw)
    yield from _asked(trials, chosen)
    if chosen.by in trials.readers:
        yield from _families(trials, chosen)
    elif chosen.families:
        yield from _becomes(trials, chosen.families)
    yield from _others(chosen, tried)


def _unread(trials: Trials, tried: Sequence[Trial], raw: bytes) -> Iterator[str]:
    """Why no input takes a line."""
    for trial in tried:
        where = f"{trial.by.called}: " if len(tried) > 1 else ""
        for reason in trial.refused:
            yield f"    refused   {where}{reason}"
        if isinstance(trial.by.config, LogsConfig):
            yield from _rules_of_logs(trials, trial.by.config, raw)


def _rules_of_logs(trials: Trials, config: LogsConfig, raw: bytes) -> Iterator[str]:
    """Each rule for log lines, and whether it matches."""
    for rule, single in config.alone():
        matches = trials.line(Candidate(single, 0), raw).lines
        yield f"    matched   {rule}" if matches else f"    no match  {rule}: {_NO_RULE}"


# --- documents --------------------------------------------------------------------------------------------------------


def _whole(trials: Trials, trial: Trial) -> Iterator[str]:
    yield f"{trial.by.called}, the whole sample"
    yield from _asked(trials, trial)
    yield from _families(trials, trial)


def _families(trials: Trials, trial: Trial) -> Iterator[str]:
    """Each family of a document by itself; and what is wrong with them together."""
    told = set[tuple[str, str]]()
    everything = deepcopy(trial.families)
    for family in trial.families:
        if not trial.lines:
            count = len(family.values)
            yield f"    read as   {family.kind} {family.name}, {count} sample{'s'[: count != 1]}"
        yield from _becomes(trials, [family], told)
    for item in compose(everything, list(trials.transforms()), Blocks()).quarantined:
        if (item.family, item.reason) not in told:
            yield f"    left out  {item.family}: {item.said}, beside the other families"


def _nobody(
    trials: Trials, documents: Sequence[Trial], raws: Sequence[bytes], lines: Sequence[Sequence[Trial]]
) -> Iterator[str]:
    """Why no input takes a sample."""
    for trial in documents:
        yield f"{trial.by.called}, the whole sample"
        for reason in trial.refused:
            yield f"    refused   {reason}"
    of_lines = {each.place for each in trials.takers}
    for raw, tried in list(zip(raws, lines, strict=True))[:UNREAD]:
        alone = [trial for trial in tried if trial.by.place in of_lines]
        if alone:
            yield shown(raw)
            yield from _unread(trials, alone, raw)
    if len(raws) > UNREAD and trials.takers:
        yield f"and so on for {len(raws) - UNREAD} lines more"


# --- what both have in common -----------------------------------------------------------------------------------------


def _asked(trials: Trials, trial: Trial) -> Iterator[str]:
    for line in trial.lines:
        yield f"    read as   {_described(line)}"
        for text in trials.mapper.tried(line.name, line.type):
            yield f"    {text}"
    for note in trial.notes:
        yield f"    {note}"
    for reason in dict.fromkeys(trial.refused):
        yield f"    refused   {reason}"


def _others(chosen: Trial, tried: Iterable[Trial]) -> Iterator[str]:
    """Which other inputs would have taken it."""
    for trial in tried:
        if trial is not chosen and trial.whole:
            yield f"    also      taken by {trial.by.called}; --input inputs[{trial.by.place}] shows what comes of it"


def _becomes(trials: Trials, families: list[Family], told: set[tuple[str, str]] | None = None) -> Iterator[str]:
    """What each transform does and why, and what is on the page in the end."""
    for called, transform in trials.transforms():
        before, page = deepcopy(families), Page()
        explained = isinstance(transform, Explained)
        if isinstance(transform, Explained):
            for family in families:
                for each in transform.tried(family):
                    yield _said(called, each)
        families = transformed(families, called, transform, page)
        for item in page.quarantined:
            raised = item.said.removeprefix(f"{called}_").replace("_", " ", 1)
            yield _said(called, Tried("failed", item.family, f"{raised}; it is left out"))
        if not explained and not page.quarantined:
            for each in _changed(before, families):
                yield _said(called, each)
        if not families:
            break
    page = compose(families, [], Blocks())
    for item in page.quarantined:
        if told is not None:
            told.add((item.family, item.reason))
        yield f"    left out  {item.family}: {item.said}"
    if not page.families and not page.quarantined:
        yield "    dropped   by the transforms"
    for text in prometheus.render(page.families).decode().splitlines():
        if not text.startswith("# HELP"):
            yield f"    becomes   {text}"


def _said(called: str, each: Tried) -> str:
    what = each.what if each.happened == "samples" else f"{called} {each.what}"
    return f"    {each.happened:<10}{what}{': ' if each.why else ''}{each.why}"


def _changed(before: Sequence[Family], after: Sequence[Family]) -> Iterator[Tried]:
    """What a transform has done that does not say it itself."""
    old, new = {each.name: each for each in before}, {each.name: each for each in after}
    for name, family in old.items():
        if name not in new:
            yield Tried("dropped", name)
        elif new[name] == family:
            yield Tried("no match", name, "it is as it was")
        else:
            yield Tried("matched", name, "it is changed")
    for name in new.keys() - old.keys():
        yield Tried("matched", name, "it is new")


def _described(line: Line) -> str:
    parts = [f"{_NOUN[line.type]} {line.name}"]
    if line.values:
        parts.append(f"value {', '.join(line.values)}")
    if line.rate != 1:
        parts.append(f"rate {line.rate:g}, so each counts {line.weight:g}")
    if line.tags:
        parts.append("tags " + ", ".join(f"{name}={value}" for name, value in line.tags))
    if line.stamp is not None:
        parts.append("its timestamp is not used: the value counts from when it is read")
    return "; ".join(parts)
