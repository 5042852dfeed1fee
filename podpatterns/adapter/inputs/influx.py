"""InfluxDB's line protocol, over HTTP as a database takes it, or over UDP and TCP."""

from __future__ import annotations

from typing import ClassVar, Literal
from urllib.parse import parse_qsl

import msgspec

from podpatterns.adapter.inputs import Input, InputConfig, Wiring
from podpatterns.adapter.intake import MAX_LINE, Intake, Sink
from podpatterns.adapter.posted import Posted
from podpatterns.adapter.receiving import Connections, Datagrams
from podpatterns.formats import influx
from podpatterns.formats.content_encoding import TooLarge, unpacked
from podpatterns.formats.families import foreign_label
from podpatterns.formats.refusal import Refused
from podpatterns.formats.statsd import Line
from podpatterns.runtime.http_server import HttpReply, HttpRequest
from podpatterns.runtime.units import Address, Size


class InfluxConfig(InputConfig, frozen=True, kw_only=True):
    """InfluxDB lines, as Telegraf and the client libraries send them; each numeric field is a gauge.

    The field `value` bears the measurement's name, another one `measurement_field`. Truth is 1 and 0, text is left out
    and counted. The time of a line is not used: a value counts from when it is read.
    """

    EXAMPLE: ClassVar[str] = """
    type: influx
    listen: "127.0.0.1:8086"
    """

    listen: Address = Address("127.0.0.1:8086")
    """Where lines are received: the pod's own loopback on InfluxDB's usual port by default."""

    protocol: Literal["http", "tcp", "udp"] = "http"
    """`http`: `POST /write` and `/api/v2/write`, answered with 204, or with 400 naming the first line that was refused;
    the other lines of such a request have been taken. `CREATE DATABASE` is granted, since Telegraf asks for it. `tcp`
    and `udp`: bare lines; for `unix:` over a stream or datagrams."""

    max_body: Size = Size("16MiB")
    """Bytes that a request's body may have, decompressed or not."""

    buffer: Size = Size("4MiB")
    """The kernel's receive buffer that is asked for with `udp`; datagrams beyond it are dropped by the kernel, and
    counted."""

    def lines(self, wiring: Wiring) -> InfluxLines:
        """InfluxDB's."""
        return InfluxLines(wiring.intake, wiring.events)

    def build(self, wiring: Wiring) -> Input:
        """The input."""
        lines = self.lines(wiring)
        if self.protocol == "http":
            return Posted(
                "influx", self.listen, InfluxWrites(lines, self.max_body).answer, wiring.events, self.max_body
            )
        if self.protocol == "tcp":
            return Connections("influx", self.listen, lines, wiring.events)
        return Datagrams("influx", self.listen, self.buffer, lines, wiring.events)


class InfluxLines:
    """Lines to gauges."""

    def __init__(self, intake: Intake, sink: Sink) -> None:
        self._intake, self._sink = intake, sink

    def feed(self, data: bytes) -> None:
        """Take in whole lines."""
        self.take(data)

    def take(self, data: bytes) -> list[Refused]:
        """The same; returns what was refused, in order."""
        try:
            text = data.decode()
        except UnicodeDecodeError:
            # One line of nonsense among others: it alone is refused.
            text = data.decode("utf-8", "replace")
        refused: list[Refused] = []
        count = 0
        for row in influx.parse(text):
            count += 1
            if isinstance(row, Refused):
                refused.append(row)
                continue
            try:
                self._row(row)
            except Refused as error:
                refused.append(error)
        for each in refused:
            self._sink.line_refused(each.reason, each.detail)
        self._sink.lines_taken(count)
        return refused

    def _row(self, row: influx.Row) -> None:
        if not row.fields:
            raise Refused("no_number", row.series[:80])
        if len(row.series) > MAX_LINE:
            raise Refused("too_long", row.series[:80])
        if "\ufffd" in row.series:
            raise Refused("not_utf8", row.series[:80])
        for field, value in row.fields:
            key = f"{row.series} {field}".encode()
            self._intake.sample((b"\ninflux\n", key), value, "InfluxDB field", lambda _, name=field: _line(row, name))  # type: ignore[misc]
        for _ in range(row.strings):
            self._sink.line_skipped("text_field")


def _line(row: influx.Row, field: str) -> Line:
    measurement, tags = influx.series(row.series)
    labels = {foreign_label(name): value for name, value in tags}
    return Line(influx.metric(measurement, field), "g", (), tags=tuple(labels.items()))


class InfluxWrites:
    """What an InfluxDB answers, as far as clients ask: writes, and whether it is there."""

    def __init__(self, lines: InfluxLines, limit: int) -> None:
        self._lines, self._limit = lines, limit

    async def answer(self, request: HttpRequest) -> HttpReply:
        """204 where every line was taken."""
        if request.path in ("/ping", "/health"):
            return _empty(204 if request.path == "/ping" else 200)
        if request.path == "/query":
            return _query(request)
        if request.path not in ("/write", "/api/v2/write"):
            return _error(404, "lines are taken at /write and /api/v2/write")
        if request.method != "POST":
            return _error(405, "POST the lines")
        if (precision := request.query.get("precision", "ns")) not in influx.PRECISIONS:
            return _error(400, f"the precision {precision} is not known; it is one of {', '.join(influx.PRECISIONS)}")
        try:
            body = unpacked(request.body, request.fields.get("content-encoding", ""), self._limit)
        except TooLarge as error:
            return _error(413, str(error))
        except ValueError as error:
            return _error(400, str(error))
        refused = self._lines.take(body)
        if not refused:
            return _empty(204)
        count = "a line was refused" if len(refused) == 1 else f"{len(refused)} lines were refused, the first"
        return _error(400, f"partial write: {count} because {refused[0]}")


def _query(request: HttpRequest) -> HttpReply:
    """Telegraf and others make their database before they write to it. Here there is none to make, or to ask."""
    wanted = request.query.get("q") or dict(parse_qsl(request.body.decode("latin-1"))).get("q", "")
    if wanted.strip().upper().startswith("CREATE DATABASE"):
        return HttpReply(200, b'{"results":[{"statement_id":0}]}', "application/json")
    return _error(400, "nothing can be asked here: lines are taken, and shown to Prometheus")


def _empty(status: int) -> HttpReply:
    return HttpReply(status, b"", "application/json", (("X-Influxdb-Version", "1.8-podpatterns"),))


def _error(status: int, text: str) -> HttpReply:
    return HttpReply(status, msgspec.json.encode({"error": text}), "application/json")
