"""A sample, tried by the inputs of a configuration: what each would make of it, by the very code that runs.

Each trial has an empty store: so a gauge's change starts from zero here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.inputs import InputConfig, Wiring
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.intake import Intake, shown
from podpatterns.adapter.log_events import LogEvents
from podpatterns.adapter.mapping import Mapper
from podpatterns.adapter.slots import Way
from podpatterns.adapter.store import Shape, Store
from podpatterns.adapter.transforms import Transform
from podpatterns.formats.families import Blocks, Family
from podpatterns.formats.refusal import REASONS
from podpatterns.formats.statsd import Line
from podpatterns.runtime.schema import component_type
from podpatterns.runtime.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Candidate:
    """An input that may take a sample."""

    config: InputConfig
    place: int

    @property
    def called(self) -> str:
        """Its type, and its name if it has one."""
        name = getattr(self.config, "name", "")
        return f"{component_type(type(self.config))} {name}".rstrip()


@dataclass(slots=True)
class Trial:
    """What one input makes of one line, or of a whole document."""

    by: Candidate
    lines: list[Line] = field(default_factory=list)
    """The series that were asked for in the store."""
    families: list[Family] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was skipped or dropped on purpose."""
    refused: list[str] = field(default_factory=list)

    @property
    def read(self) -> bool:
        """Whether the input understands something of it."""
        return bool(self.lines or self.families or self.notes)

    @property
    def whole(self) -> bool:
        """Whether it understands all of it."""
        return self.read and not self.refused


class Trials:
    """Everything that a sample can be tried with."""

    def __init__(self, config: AdapterConfig) -> None:
        self.config = config
        self.mapper = Mapper(config.mapping, config.mapping_defaults)
        every = [Candidate(each, place) for place, each in enumerate(config.inputs or [StatsdConfig()])]
        wiring, _, _ = self._wiring()
        self.takers = [each for each in every if each.config.lines(wiring) is not None]
        """Inputs that take lines."""
        self.readers = [each for each in every if each.config.document(wiring) is not None]
        """Inputs that take something whole: a page, a request, a pickle."""

    def transforms(self) -> Iterator[tuple[str, Transform]]:
        """Anew for each sample, for some of them remember; with what they are called here."""
        types = Counter(map(type, self.config.transforms))
        for place, each in enumerate(self.config.transforms):
            yield each.label if types[type(each)] == 1 else f"{each.label} (transforms[{place}])", each.build()

    def line(self, each: Candidate, raw: bytes) -> Trial:
        """One line, by an input that takes lines."""
        wiring, store, events = self._wiring()
        lines = each.config.lines(wiring)
        assert lines is not None
        lines.feed(raw)
        # The line stands above its reasons.
        refused = [reason.replace(f' in {shown(raw)}"', '"') for reason in events.refusals]
        return Trial(each, store.asked, list(store.families()), events.notes, refused)

    def document(self, each: Candidate, body: bytes) -> Trial:
        """The whole, by an input that takes it so."""
        wiring, store, events = self._wiring()
        document = each.config.document(wiring)
        assert document is not None
        found: Sequence[Family] = ()
        try:
            found = document.take(body, content_type(body))
        except (ValueError, RecursionError) as error:
            events.refusals.append(str(error))
        families = [family for family in (*store.families(), *found) if family.values]
        if not (store.asked or families or events.notes or events.refusals):
            events.refusals.append("no metric is in it")
        return Trial(each, store.asked, families, events.notes, events.refusals)

    def _wiring(self) -> tuple[Wiring, _Watched, _Seen]:
        events = _Seen()
        store = _Watched(self.config.series.shape, events, self.mapper)
        return Wiring(store, Intake(store, events), Blocks(), events, LogEvents(Telemetry())), store, events


def is_text(body: bytes) -> bool:
    """Whether it can be shown: UTF-8, and no control characters but those that set lines."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return False
    return all(mark >= " " or mark in "\t\r\n\f\v" for mark in text)


def content_type(body: bytes) -> str:
    """What a sender would say that it is: a file does not."""
    if not is_text(body):
        return "application/vnd.google.protobuf"
    if body.rstrip().endswith(b"# EOF"):
        return "application/openmetrics-text"
    return "application/json" if body.lstrip()[:1] in (b"{", b"[") else "text/plain"


class _Seen(AdapterEvents):
    """Keeps what is told about a sample, instead of counting it."""

    def __init__(self) -> None:
        super().__init__(Telemetry())
        self.notes: list[str] = []
        self.refusals: list[str] = []

    def line_refused(self, reason: str, detail: str) -> None:
        """A line or value was refused."""
        self.refusals.append(f"{reason}: {REASONS.get(reason, reason)}" + (f': "{detail}"' if detail else ""))

    def line_skipped(self, what: str) -> None:
        """A line is no metric."""
        self.notes.append(f"skipped   {what.replace('_', ' ')}s are no metrics; this one is counted and skipped")

    def sample_dropped(self, match: str) -> None:  # noqa: ARG002 - the rule stands there already
        """A rule of the mapping drops it."""
        self.notes.append("dropped   by the rule")

    def collect_failed(self, source: str, error: str) -> None:  # noqa: ARG002 - it stands there already
        """A page has mistakes."""
        self.refusals.append(error)


class _Watched(Store):
    """Remembers which lines asked for a series."""

    def __init__(self, shape: Shape, events: AdapterEvents, mapper: Mapper) -> None:
        super().__init__(shape, lambda: 0.0, events.overflowed, mapper, events.sample_dropped)
        self.asked: list[Line] = []

    def slot(self, line: Line, noun: str = "") -> tuple[Way, bool]:
        """As in any store."""
        self.asked.append(line)
        return super().slot(line, noun)
