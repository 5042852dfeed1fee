"""What happens in the adapter: one method per happening, which logs and counts.

One piece, so that each counter stands beside its happening and its figure; logs and checks have theirs in
`log_events` and `health_events`.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping

from podpatterns.adapter.page import Quarantined
from podpatterns.formats.families import Family
from podpatterns.runtime.telemetry import Counter, Gauge, Telemetry

_PREFIX = "podpatterns_adapter_"


class AdapterEvents:
    """Counters stand on the adapter's own page as well: whoever scrapes it sees what was refused and left out."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry, self._log = telemetry, telemetry.log
        counter, gauge = telemetry.counter, telemetry.gauge
        self._lines = counter(f"{_PREFIX}lines", "Lines received, refused and skipped ones included.")
        self._line = self._lines.cell()
        self._refused = counter(f"{_PREFIX}lines_refused", "Lines and values refused, by the reason.", ["reason"])
        self._matched = counter(
            f"{_PREFIX}lines_matched", "Log lines that a rule has counted, by the rule's number in its input.", ["rule"]
        )
        self._skipped = counter(f"{_PREFIX}lines_skipped", "Lines that carry no metric, by what they are.", ["what"])
        self._dropped = counter(f"{_PREFIX}datagrams_dropped", "Datagrams dropped before they were read.", ["input"])
        self._overflow = counter(
            f"{_PREFIX}overflowed_samples", "Samples of series beyond the budget, by metric.", ["metric"]
        )
        self._unwanted = counter(
            f"{_PREFIX}samples_dropped", "Samples dropped by a rule of the mapping, by the rule's match.", ["match"]
        )
        self._expired = counter(
            f"{_PREFIX}series_expired", "Idle series dropped or, if counters, hidden; by kind of metric.", ["kind"]
        )
        self._series = gauge(f"{_PREFIX}series", "Series that pushed samples add up to, OTLP's included.")
        self._quarantined = gauge(
            f"{_PREFIX}quarantined_samples",
            "Samples left out of the last page, by family and reason.",
            ["family", "reason"],
        )
        self._scrapes = counter(f"{_PREFIX}pages_served", "Pages served, by output.", ["output"])
        self._failures = counter(
            f"{_PREFIX}collect_failures", "Sources that did not answer in time or at all.", ["input"]
        )
        self._connections = gauge(f"{_PREFIX}open_connections", "Open connections, by input.", ["input"])
        self._crowd = counter(
            f"{_PREFIX}connections_refused", "Connections closed because there were too many, by input.", ["input"]
        )
        self._reloads = counter(f"{_PREFIX}changes_applied", "Changes of the configuration put in force.")
        self._delivered = counter(f"{_PREFIX}deliveries", "Deliveries that were taken, by output.", ["output"])
        self._delivery_failures = counter(
            f"{_PREFIX}delivery_failures", "Deliveries that failed or were refused, by output.", ["output"]
        )
        self._lost = counter(
            f"{_PREFIX}deliveries_lost", "Deliveries given up for good, by output and reason.", ["output", "reason"]
        )
        self._left_out = counter(
            f"{_PREFIX}samples_left_out",
            "Samples that an output's format has no place for, by output and reason.",
            ["output", "reason"],
        )
        self._waiting = gauge(f"{_PREFIX}waiting_bytes", "Bytes that wait to be delivered, by output.", ["output"])
        self._lasting: set[Quarantined] = set()
        self._last_errors: dict[str, str] = {}

    # --- lines ----------------------------------------------------------------------------------------------------

    def lines_taken(self, count: int) -> None:
        """So many lines came in. Too frequent to be logged."""
        self._line.value += count

    def lines_matched(self, rule: int, count: int) -> None:
        """So many log lines had the form of a rule. Too frequent to be logged."""
        self._matched.cell(str(rule)).value += count

    def line_refused(self, reason: str, detail: str) -> None:
        """A line or value was refused; logged at the 1st, 10th, 100th, … of a reason, lest nonsense flood the log."""
        cell = self._refused.cell(reason)
        cell.value += 1
        if _round(cell.value):
            self._log.warning("adapter.line.refused", reason=reason, line=detail, refused_so_far=int(cell.value))

    def line_skipped(self, what: str) -> None:
        """An event or a service check came in; logged as above."""
        cell = self._skipped.cell(what)
        cell.value += 1
        if _round(cell.value):
            self._log.info("adapter.line.skipped", what=what, skipped_so_far=int(cell.value))

    def datagrams_dropped(self, source: str, count: int) -> None:
        """The kernel had no room left in the socket's buffer."""
        self._dropped.add(source, by=count)
        self._log.warning("adapter.datagrams.dropped", input=source, count=count)

    def overflowed(self, metric: str) -> None:
        """A sample of a series beyond the budget. `metric` is empty where the name itself is new."""
        cell = self._overflow.cell(metric)
        cell.value += 1
        if _round(cell.value):
            self._log.warning("adapter.series.overflowed", metric=metric, samples_so_far=int(cell.value))

    def sample_dropped(self, match: str) -> None:
        """A rule of the mapping wants it left out. Meant, and too frequent to be logged."""
        self._unwanted.cell(match).value += 1

    def series_expired(self, found: Mapping[str, int]) -> None:
        """Series were without samples for too long; how many by kind of metric."""
        for kind, count in found.items():
            self._expired.add(kind, by=count)
        self._log.info("adapter.series.expired", **found)

    def rule_unreachable(self, number: int, match: str, reason: str) -> None:
        """A rule of the mapping can never match."""
        self._log.warning("adapter.mapping.rule_unreachable", rule=number, match=match, reason=reason)

    # --- components -----------------------------------------------------------------------------------------------

    def input_listening(self, source: str, address: str) -> None:
        """An input is open."""
        self._log.info("adapter.input.listening", input=source, address=address)

    def connection_opened(self, source: str) -> None:
        """A client has connected."""
        self._connections.cell(source).value += 1
        self._log.debug("adapter.connection.opened", input=source)

    def connection_refused(self, source: str) -> None:
        """There are as many clients as an input takes; logged as lines are."""
        cell = self._crowd.cell(source)
        cell.value += 1
        if _round(cell.value):
            self._log.warning("adapter.connection.refused", input=source, refused_so_far=int(cell.value))

    def connection_closed(self, source: str, reason: str) -> None:
        """A client has gone, or was sent away."""
        self._connections.cell(source).value -= 1
        self._log.debug("adapter.connection.closed", input=source, reason=reason)

    def collect_failed(self, source: str, error: str) -> None:
        """A source gave no answer, or no page."""
        cell = self._failures.cell(source)
        cell.value += 1
        if _round(cell.value):
            self._log.warning("adapter.collect.failed", input=source, error=error, failures_so_far=int(cell.value))

    def output_listening(self, url: str) -> None:
        """The page is there."""
        self._log.info("adapter.output.listening", url=url)

    def page_served(self, output: str) -> None:
        """Somebody has scraped the page."""
        self._scrapes.add(output)
        self._log.debug("adapter.page.served", output=output)

    def final_scrape(self, output: str, scraped: bool) -> None:
        """The page was kept up for a last scrape, which came or did not."""
        self._log.info("adapter.final_scrape.over", output=output, scraped=scraped)

    def delivered(self, output: str) -> None:
        """A push was taken."""
        self._delivered.add(output)
        self._log.debug("adapter.delivery.done", output=output)

    def delivery_failed(self, output: str, to: str, error: str) -> None:
        """A push was not taken; it is tried again unless it is counted as lost as well.

        Logged at the 1st, 10th, 100th, … time, and whenever the error is another one than the time before.
        """
        cell = self._delivery_failures.cell(output)
        cell.value += 1
        if _round(cell.value) or self._last_errors.get(output) != error:
            self._log.warning(
                "adapter.delivery.failed", output=output, to=to, error=error, failures_so_far=int(cell.value)
            )
        self._last_errors[output] = error

    def deliveries_lost(self, output: str, reason: str, count: int) -> None:
        """Pushes were given up: refused for good, too old where too many waited, or left over at the end."""
        cell = self._lost.cell(output, reason)
        cell.value += count
        self._log.warning("adapter.deliveries.lost", output=output, reason=reason, lost_so_far=int(cell.value))

    def samples_left_out(self, output: str, reason: str, count: int) -> None:
        """Samples that a format has no place for; logged at the 1st, 10th, 100th, … time."""
        cell = self._left_out.cell(output, reason)
        before, cell.value = cell.value, cell.value + count
        if any(before < mark <= cell.value for mark in _ROUND):
            self._log.warning("adapter.samples.left_out", output=output, reason=reason, left_out_so_far=int(cell.value))

    def deliveries_waiting(self, output: str, size: int) -> None:
        """How much waits; a figure, not a happening, so it is not logged."""
        self._waiting.cell(output).value = size

    def quarantined(self, found: Iterable[Quarantined]) -> None:
        """What the last page had to leave out; logged when it changes."""
        sums: Tally[tuple[str, str]] = Tally()
        details: dict[tuple[str, str], str] = {}
        for item in found:
            sums[item.family, item.reason] += item.samples
            details[item.family, item.reason] = item.detail
        now = {Quarantined(*pair, samples, details[pair]) for pair, samples in sums.items()}
        for item in now - self._lasting:
            self._log.warning("adapter.family.quarantined", family=item.family, reason=item.said, samples=item.samples)
        for item in self._lasting - now:
            self._quarantined.cell(item.family, item.reason).value = 0
        for item in now:
            self._quarantined.cell(item.family, item.reason).value = item.samples
        self._lasting = now

    def unwritable(self, family: str, reason: str, samples: int) -> None:
        """A family could not be written in the form that was asked for; it is named on the next page."""
        item = Quarantined(family, reason, samples)
        if item not in self._lasting:
            self._log.warning("adapter.family.quarantined", family=family, reason=reason, samples=samples)
        self._quarantined.cell(family, reason).value = samples

    def series_counted(self, count: int) -> None:
        """How many series there are now; a figure, not a happening, so it is not logged."""
        self._series.cell().value = count

    def config_applied(self, transforms: int, outputs: int) -> None:
        """A changed configuration is in force."""
        self._reloads.add()
        self._log.info("adapter.config.applied", transforms=transforms, outputs=outputs)

    # --- figures --------------------------------------------------------------------------------------------------

    @property
    def lines(self) -> int:
        """Lines received."""
        return int(self._line.value)

    @property
    def refused(self) -> dict[str, int]:
        """Refused lines and values by reason."""
        return _counts(self._refused)

    @property
    def skipped(self) -> dict[str, int]:
        """Skipped lines by what they are."""
        return _counts(self._skipped)

    @property
    def dropped(self) -> dict[str, int]:
        """Dropped datagrams by input."""
        return _counts(self._dropped)

    @property
    def overflow(self) -> dict[str, int]:
        """Overflowed samples by metric."""
        return _counts(self._overflow)

    @property
    def unwanted(self) -> dict[str, int]:
        """Samples dropped by the mapping, by the rule's match."""
        return _counts(self._unwanted)

    @property
    def expired(self) -> dict[str, int]:
        """Expired series by kind of metric."""
        return _counts(self._expired)

    @property
    def lost(self) -> dict[str, int]:
        """Deliveries given up, by output and reason."""
        return _counts(self._lost)

    @property
    def waiting(self) -> dict[str, tuple[int, str]]:
        """Bytes that wait to be delivered, and what was wrong the last time, by output."""
        return {
            output: (size, self._last_errors.get(output, "")) for output, size in _counts(self._waiting).items() if size
        }

    @property
    def left_out(self) -> dict[str, int]:
        """Samples that a format had no place for, by output and reason."""
        return _counts(self._left_out)

    @property
    def withheld(self) -> list[Quarantined]:
        """What the last page left out."""
        return sorted(self._lasting, key=lambda item: (item.family, item.reason))

    def families(self) -> Iterator[Family]:
        """The adapter's own metrics, those of its logs and checks included, for its page."""
        for each in self._telemetry.families.values():
            if not (isinstance(each, Counter) and each.name.startswith(_PREFIX)):
                continue
            family = _own(each)
            for values, number in each.series.items():
                family.add(number, zip(each.labels, values, strict=True))
            yield family


def _counts(metric: Counter) -> dict[str, int]:
    """Every series by its labels, in one text."""
    return {": ".join(values): int(value) for values, value in metric.series.items()}


def _own(metric: Counter) -> Family:
    if isinstance(metric, Gauge):
        return Family(metric.name, "gauge", metric.text)
    return Family(f"{metric.name}_total", "counter", metric.text)


def _round(count: float) -> bool:
    """True for 1, 10, 100 and so on."""
    return count in _ROUND


_ROUND = frozenset(10**exponent for exponent in range(16))
