"""What happens to logs that are read, rewritten or measured: one method per happening, which logs and counts."""

from __future__ import annotations

from podpatterns.runtime.telemetry import Cell, Telemetry

_PREFIX = "podpatterns_adapter_log_"


class LogEvents:
    """The log's own text never stands in an event: it may hold anything."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._log = telemetry.log
        counter = telemetry.counter
        self._lines = counter(f"{_PREFIX}lines", "Lines that were read and passed on.", ["log"])
        self._records = counter(f"{_PREFIX}records", "Records that were written.", ["log"])
        self._noted = counter(
            f"{_PREFIX}lines_noted", "Lines or records with something to them, by what it is.", ["log", "what"]
        )
        self._lost = counter(f"{_PREFIX}lost_bytes", "Bytes of lines that were lost, by the reason.", ["log", "reason"])
        self._unreadable = counter(
            f"{_PREFIX}open_failures", "Looks at files that are there and cannot be read.", ["log"]
        )
        self._failures = counter(f"{_PREFIX}write_failures", "Writes that failed and were tried again.", ["log"])
        self._rotations = counter(f"{_PREFIX}rotations", "Times that the written file was rotated.", ["log"])

    def lines(self, log: str) -> Cell:
        """Where lines that were passed on are counted."""
        return self._lines.cell(log)

    def records(self, log: str) -> Cell:
        """Where records that were written are counted."""
        return self._records.cell(log)

    @property
    def passed_on(self) -> tuple[int, int]:
        """Lines and records of all logs."""
        return int(self._lines.total), int(self._records.total)

    @property
    def noted(self) -> dict[str, int]:
        """What there was to lines, over all logs."""
        found: dict[str, int] = {}
        for (_, what), value in self._noted.series.items():
            found[what] = found.get(what, 0) + int(value)
        return found

    @property
    def losses(self) -> dict[str, int]:
        """Lost bytes by log and reason."""
        return {f"{log}: {reason}": int(value) for (log, reason), value in self._lost.series.items()}

    def opened(self, log: str, where: str, position: int) -> None:
        """A source is being read from a position on."""
        self._log.info("adapter.log.opened", log=log, source=where, position=position)

    def missing(self, log: str, where: str) -> None:
        """The file is not there yet."""
        self._log.info("adapter.log.missing", log=log, source=where)

    def unreadable(self, log: str, where: str, reason: str, *, again: bool) -> None:
        """A file is there and cannot be read; logged once, and again when there is another reason."""
        self._unreadable.add(log)
        if not again:
            self._log.warning("adapter.log.unreadable", log=log, source=where, reason=reason)

    def rotated_away(self, log: str, where: str) -> None:
        """The file has another name by now, or none; it is read to its end."""
        self._log.info("adapter.log.rotated", log=log, source=where)

    def truncated(self, log: str, where: str, lost: int) -> None:
        """The file was cut to nothing, as copytruncate does; `lost` bytes had not been read, and are in no copy."""
        self._log.info("adapter.log.truncated", log=log, source=where, lost_bytes=lost)
        if lost:
            self.lost(log, "truncated", lost)

    def gone(self, log: str, where: str) -> None:
        """What had been read of before the restart is not there any more."""
        self._log.warning("adapter.log.gone", log=log, source=where)

    def noted_lines(self, log: str, what: str, count: int) -> None:
        """Lines were not in the format, or cut, or had bytes that are no text, or an unknown time or level.

        Logged with the first one and whenever there are ten times as many, lest a log of nonsense make another one.
        """
        cell = self._noted.cell(log, what)
        if _tenfold(cell, count) and what != "joined":  # which is what is wanted
            self._log.warning("adapter.log.noted", log=log, what=what, lines_so_far=int(cell.value))

    def lost(self, log: str, reason: str, size: int) -> None:
        """Lines had no place to wait in, or are gone before they were read; logged as above."""
        cell = self._lost.cell(log, reason)
        if _tenfold(cell, size):
            self._log.error("adapter.log.lost", log=log, reason=reason, bytes_so_far=int(cell.value))

    def write_failed(self, log: str, where: str, error: OSError, attempt: int) -> None:
        """Nothing could be written; it is tried again, and meanwhile nothing is read."""
        self._failures.add(log)
        if attempt in (0, 3, 10) or not attempt % 100:
            self._log.error("adapter.log.write_failed", log=log, path=where, error=error.strerror, attempt=attempt + 1)

    def position_failed(self, log: str, path: str, error: OSError) -> None:
        """The position could not be kept: a restart would repeat lines."""
        self._log.error("adapter.log.position_failed", log=log, path=path, error=error.strerror)

    def output_rotated(self, log: str, path: str) -> None:
        """The file that is written was full."""
        self._rotations.add(log)
        self._log.info("adapter.log.output_rotated", log=log, path=path)


def _tenfold(cell: Cell, count: int) -> bool:
    """Count, and say whether that has given the number another digit."""
    before = int(cell.value)
    cell.value += count
    return not before or len(str(int(cell.value))) > len(str(before))
