"""What happens in the sidecar: one method per happening, which logs and counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from podpatterns.formats.lines import Lines
from podpatterns.runtime.telemetry import Cell, Telemetry
from podpatterns.sidecar.budget import Budget
from podpatterns.sidecar.ledger import Account

ANNOUNCE = 30.0
"""Seconds between two log lines about the same trouble; each time is counted."""


class SidecarEvents:
    """The happenings of inputs, pipeline, outputs and checkpoint."""

    def __init__(
        self,
        telemetry: Telemetry,
        account: Callable[[], Account],
        in_flight: Callable[[], int],
        behind: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._log = telemetry.log
        telemetry.gauge(
            "podpatterns_sidecar_ledger_lines",
            "Lines by what became of them: read = acknowledged + dead_lettered + filtered + refused + gone "
            "+ in flight.",
            ["fate"],
            read=lambda: _fates(account()),
        )
        telemetry.gauge(
            "podpatterns_sidecar_lost_bytes",
            "Bytes of logs that are known to be lost, by the reason.",
            ["reason"],
            read=lambda: {(reason,): float(size) for reason, size in account().lost.items()},
        )
        telemetry.gauge(
            "podpatterns_sidecar_in_flight_bytes",
            "Bytes in memory that have been read and not yet acknowledged.",
            read=lambda: {(): float(in_flight())},
        )
        telemetry.gauge(
            "podpatterns_sidecar_behind_bytes",
            "Bytes of logs that an output has still to take of what was read.",
            ["output"],
            read=lambda: {(output,): float(size) for output, size in behind().items()},
        )
        self._budget: dict[tuple[str, ...], float] = {}
        telemetry.gauge(
            "podpatterns_sidecar_memory_budget_bytes",
            "What may be read, gathered and under way at a time, where the container has a memory limit.",
            ["share"],
            read=lambda: self._budget,
        )
        self._read = telemetry.counter("podpatterns_sidecar_read_bytes", "Bytes read, by input.", ["input"])
        self._delivered = telemetry.counter(
            "podpatterns_sidecar_delivered_records", "Records that an output has accepted.", ["output"]
        )
        self._retries = telemetry.counter(
            "podpatterns_sidecar_retries", "Deliveries that failed and were tried again.", ["output"]
        )
        self._refused = telemetry.counter(
            "podpatterns_sidecar_refused_records",
            "Records that an output has refused for good without saying which they were.",
            ["output"],
        )
        self._senders = telemetry.counter(
            "podpatterns_sidecar_refused_senders", "Senders that were turned away.", ["input"]
        )
        self._datagrams = telemetry.counter(
            "podpatterns_sidecar_dropped_datagrams",
            "Datagrams that the kernel has dropped because nobody read them in time.",
            ["input"],
        )
        self._dead = telemetry.counter(
            "podpatterns_sidecar_dead_letters", "Records written to the dead-letter file, by who refused them.", ["by"]
        )
        self._notes = telemetry.counter(
            "podpatterns_sidecar_transform_notes", "What transforms have counted, such as parse_failed.", ["what"]
        )
        self._lines = telemetry.counter(
            "podpatterns_sidecar_altered_lines",
            "Lines that were read but not as they stood, by the reason.",
            ["reason"],
        )
        self._altered: dict[tuple[str, str], tuple[float, int]] = {}
        self._files = telemetry.counter("podpatterns_sidecar_file_events", "What happened to tailed files.", ["what"])
        self._checkpoints = telemetry.counter(
            "podpatterns_sidecar_checkpoints", "Attempts to write the checkpoint.", ["outcome"]
        )

    # --- counters for hot paths -----------------------------------------------------------------------------------

    def read_bytes(self, name: str) -> Cell:
        """The cell of an input, to add to."""
        return self._read.cell(name)

    def delivered(self, output: str) -> Cell:
        """The cell of an output, to add to."""
        return self._delivered.cell(output)

    def noted(self, notes: dict[str, int]) -> None:
        """What the transforms have counted in a batch."""
        for what, count in notes.items():
            self._notes.add(what, by=count)

    # --- files ----------------------------------------------------------------------------------------------------

    def file_found(self, path: str, offset: int) -> None:
        """A file is followed from now on."""
        self._files.add("found")
        self._log.info("sidecar.file.found", path=path, offset=offset)

    def file_rotated(self, path: str, left: int) -> None:
        """A file is no longer where it was; it is read to its end."""
        self._files.add("rotated")
        self._log.info("sidecar.file.rotated", path=path, unread_bytes=left)

    def file_truncated(self, path: str, lost: int, recovered_from: str | None) -> None:
        """A file starts anew; what of it had not been read is lost unless rotation has left a copy."""
        self._files.add("truncated")
        log = self._log.error if lost else self._log.info
        log("sidecar.file.truncated", path=path, lost_bytes=lost, rest_read_from=recovered_from)

    def file_gone(self, path: str, lost: int) -> None:
        """A file that the checkpoint knows cannot be found any more."""
        self._files.add("gone")
        log = self._log.error if lost else self._log.info
        log("sidecar.file.gone", path=path, lost_bytes=lost)

    def file_closed(self, path: str) -> None:
        """A rotated or deleted file has been read and acknowledged to its end."""
        self._files.add("closed")
        self._log.info("sidecar.file.closed", path=path)

    def file_unreadable(self, path: str, reason: str) -> None:
        """A file matches but cannot be read; it is tried again."""
        self._files.add("unreadable")
        self._log.warning("sidecar.file.unreadable", path=path, reason=reason, next="it is tried again")

    def directory_polled(self, directory: str, reason: str) -> None:
        """What happens in a directory is not told by the kernel: its files are looked at again and again."""
        self._files.add("polled")
        self._log.warning("sidecar.directory.polled", path=directory, reason=reason, next="its files are polled")

    def writers_unknown(self, path: str, reason: str) -> None:
        """Whether a file is still being written to cannot be told, so it counts as being written to."""
        self._files.add("writers_unknown")
        self._log.error(
            "sidecar.file.writers_unknown",
            path=path,
            reason=reason,
            next="the input does not end by itself; run as the same uid as the application, or use sidecar.done_file",
        )

    def files_closed(self, seconds: float) -> None:
        """Nobody has had a file open for writing for so long: the input ends."""
        self._log.info(
            "sidecar.files.closed", for_seconds=seconds, next="what is left is delivered, then the input ends"
        )

    def nothing_to_read(self, paths: Sequence[str]) -> None:
        """No file matches yet."""
        self._files.add("none_yet")
        self._log.warning("sidecar.file.none_yet", paths=paths, next="they are read as soon as they are there")

    def lines_altered(self, path: str, lines: Lines) -> None:
        """Lines were truncated, or had bytes that are not text."""
        for reason, count in (("truncated", lines.truncated), ("not_text", lines.replaced)):
            if count:
                self._lines.add(reason, by=count)
                self._say_altered(path, reason, count)

    def _say_altered(self, path: str, reason: str, count: int) -> None:
        """At first, and then once in a while with the sum: a log in another encoding has such lines in every batch."""
        since, held = self._altered.get((path, reason), (float("-inf"), 0))
        now = time.monotonic()
        if now - since < ANNOUNCE:
            self._altered[path, reason] = since, held + count
            return
        self._altered[path, reason] = now, 0
        self._log.warning("sidecar.line.altered", path=path, reason=reason, lines=held + count)

    def application_done(self, path: str) -> None:
        """The application has said that it has ended."""
        self._log.info("sidecar.application.done", file=path, next="what is left is delivered, then the sidecar ends")

    def memory_divided(self, limit: int, used: int, budget: Budget) -> None:
        """What the container's limit leaves has been divided."""
        sizes = {"read": budget.chunk, "batch": budget.batch, "in_flight": budget.flight}
        self._budget.update({(share,): float(size) for share, size in sizes.items()})
        facts = {"limit_bytes": limit, "used_bytes": used, **{f"{share}_bytes": size for share, size in sizes.items()}}
        if budget.short:
            self._log.warning(
                "sidecar.memory.short",
                **facts,
                missing_bytes=budget.short,
                next="raise the container's memory limit: it may be killed under load, and goes on from its checkpoint",
            )
        else:
            self._log.info("sidecar.memory.divided", **facts)

    # --- senders --------------------------------------------------------------------------------------------------

    def sender_refused(self, name: str, reason: str) -> None:
        """What it sends makes no sense, or cannot be taken now."""
        self._senders.add(name)
        self._log.warning("sidecar.sender.refused", input=name, reason=reason, next="it is turned away")

    def datagrams_dropped(self, name: str, count: int) -> None:
        """They are lost, and the sender does not know."""
        self._datagrams.add(name, by=count)
        self._log.error("sidecar.datagram.dropped", input=name, datagrams=count, reason="not read in time")

    # --- delivery -------------------------------------------------------------------------------------------------

    def output_waiting(self, output: str, reason: str, attempt: int, delay: float, *, announce: bool) -> None:
        """A delivery failed and is tried again; said aloud at first and then once in a while."""
        self._retries.add(output)
        log = self._log.warning if announce else self._log.debug
        log("sidecar.output.waiting", output=output, reason=reason, attempt=attempt, retry_in_seconds=round(delay, 3))

    def output_recovered(self, output: str, attempts: int) -> None:
        """It works again."""
        self._log.info("sidecar.output.recovered", output=output, attempts=attempts)

    def records_refused(self, output: str, count: int, reason: str) -> None:
        """The far side took a delivery but for some records that it did not name; sending again would repeat others."""
        self._refused.add(output, by=count)
        self._log.error("sidecar.record.refused", output=output, records=count, reason=reason, next="counted as lost")

    def lines_gone(self, source: str, lines: int, size: int) -> None:
        """An output was behind, and what it had to get is no longer there."""
        self._log.error("sidecar.line.gone", source=source, lines=lines, bytes=size, reason="truncated meanwhile")

    def output_warned(self, output: str, warning: str) -> None:
        """The far side took everything, and has something to say about it."""
        self._log.warning("sidecar.output.warned", output=output, warning=warning)

    def dead_lettered(self, by: str, count: int, reason: str, path: str) -> None:
        """Records were set aside."""
        self._dead.add(by, by=count)
        self._log.error("sidecar.record.dead_lettered", by=by, records=count, reason=reason, file=path)

    def dead_letters_unwritable(self, path: str, reason: str) -> None:
        """A dead letter has no place to go; its output waits."""
        self._log.error("sidecar.dead_letters.unwritable", path=path, reason=reason, next="it is tried again")

    def transform_failed(self, error: BaseException) -> None:
        """A transform raised; the batch is gone through line by line."""
        self._notes.add("transform_failed")
        # The traceback of a recursion has a thousand lines that say the same.
        trace = None if isinstance(error, RecursionError) else error
        self._log.error("sidecar.transform.failed", error=f"{type(error).__name__}: {error}", exc_info=trace)

    # --- checkpoint -----------------------------------------------------------------------------------------------

    def checkpoint_written(self) -> None:
        """Safe on disk."""
        self._checkpoints.add("written")

    def checkpoint_failed(self, path: str, error: OSError) -> None:
        """Not safe; reading new files waits, and it is tried again."""
        self._checkpoints.add("failed")
        self._log.error("sidecar.checkpoint.failed", path=path, reason=error.strerror or str(error), next="tried again")

    def checkpoint_unreadable(self, path: str, reason: str, kept: str) -> None:
        """The checkpoint does not make sense; files are read from their start, which repeats but loses nothing."""
        self._checkpoints.add("unreadable")
        self._log.error(
            "sidecar.checkpoint.unreadable", path=path, reason=reason, kept_as=kept, next="files are read anew"
        )


def _fates(account: Account) -> dict[tuple[str, ...], float]:
    return {
        ("read",): account.read,
        ("acknowledged",): account.acknowledged,
        ("dead_lettered",): account.dead,
        ("filtered",): account.filtered,
        ("refused",): account.refused,
        ("gone",): account.gone,
    }
