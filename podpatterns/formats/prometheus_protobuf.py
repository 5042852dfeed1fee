"""Prometheus' protocol buffers: delimited `io.prometheus.client.MetricFamily` messages to families and back.

    families = parse(body)
    body = render(families)

The only form of a page that carries native histograms; those of others are passed on as they came. Infos and states
become gauges, which is what the format has for them. One piece, for writing and reading share the numbers of fields.
Source: prometheus/client_model, metrics.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from math import inf

from podpatterns.formats.escaping import Scheme, escaped
from podpatterns.formats.families import Family, Kind, block, labels_of, parsed, with_label
from podpatterns.formats.numbers import floats, number
from podpatterns.formats.protobuf import chunk, double, fields, varint, whole

CONTENT_TYPE = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

_TYPES: dict[Kind, int] = {
    "counter": 0,
    "gauge": 1,
    "summary": 2,
    "unknown": 3,
    "histogram": 4,
    "gaugehistogram": 5,
    "info": 1,
    "stateset": 1,
}
_KINDS: dict[int, Kind] = {0: "counter", 1: "gauge", 2: "summary", 3: "unknown", 4: "histogram", 5: "gaugehistogram"}
_SCALARS: dict[Kind, int] = {"counter": 3, "gauge": 2, "unknown": 5, "info": 2, "stateset": 2}
"""By kind, the field of a Metric that holds its value."""
_NATIVE = frozenset((5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16))
"""The fields of a Histogram that are the native one."""


def render(families: Iterable[Family], escaping: Scheme = "allow-utf-8") -> bytes:
    """A page: each family, its length in front."""
    return b"".join([varint(len(message)) + message for message in map(_family, escaped(families, escaping))])


def _family(family: Family) -> bytes:
    # An info's own name ends in _info here, too; a counter's in _total.
    parts = [chunk(1, family.name.encode())]
    if family.help:
        parts.append(chunk(2, family.help.encode()))
    parts.append(whole(3, _TYPES[family.kind]))
    metrics = _scalars if family.kind in _SCALARS else _compound
    parts += [chunk(4, metric) for metric in metrics(family)]
    if family.unit:
        parts.append(chunk(5, family.unit.encode()))
    return b"".join(parts)


def _scalars(family: Family) -> Iterator[bytes]:
    field = _SCALARS[family.kind]
    counter = family.kind == "counter"
    for index, (text, value) in enumerate(zip(family.blocks, family.values, strict=True)):
        content = double(1, value)
        if counter and index in family.exemplars:
            content += chunk(2, _exemplar(family.exemplars[index]))
        if counter:
            content += _start(family, index, 3)
        yield _labels(text) + chunk(field, content) + _time(family, index)


def _compound(family: Family) -> Iterator[bytes]:
    """Histograms and summaries: the samples of a series, wherever they stand, are one message."""
    bound = "quantile" if family.kind == "summary" else "le"
    series: dict[str, list[int]] = {}
    for index, text in enumerate(family.blocks):
        series.setdefault(_without(text, bound), []).append(index)
    content = _summary if family.kind == "summary" else _histogram
    field = 4 if family.kind == "summary" else 7
    for text, indices in series.items():
        yield _labels(text) + chunk(field, content(family, indices)) + _time(family, indices[0])


def _summary(family: Family, indices: Sequence[int]) -> bytes:
    assert family.suffixes is not None
    parts, start = [], b""
    for index in indices:
        suffix, value = family.suffixes[index], family.values[index]
        if suffix == "_count":
            parts.append(whole(1, round(value)))
        elif suffix == "_sum":
            parts.append(double(2, value))
        else:
            parts.append(chunk(3, double(1, _limit(family.blocks[index], "quantile")) + double(2, value)))
        start = start or _start(family, index, 4)
    return b"".join(parts) + start


def _histogram(family: Family, indices: Sequence[int]) -> bytes:
    assert family.suffixes is not None
    parts, start = [], b""
    for index in indices:
        suffix, value = family.suffixes[index], family.values[index]
        if suffix == "_bucket":
            bucket = _count(1, 4, value) + double(2, _limit(family.blocks[index], "le"))
            if index in family.exemplars:
                bucket += chunk(3, _exemplar(family.exemplars[index]))
            parts.append(chunk(3, bucket))
        elif suffix in ("_count", "_gcount"):
            parts.append(_count(1, 4, value) + family.natives.get(index, b""))
        else:
            parts.append(double(2, value))
        start = start or _start(family, index, 15)
    return b"".join(parts) + start


def _count(whole_field: int, float_field: int, value: float) -> bytes:
    """Counts are whole numbers, unless lines were sampled."""
    return whole(whole_field, int(value)) if value.is_integer() and value >= 0 else double(float_field, value)


def _start(family: Family, index: int, field: int) -> bytes:
    start = family.starts[index] if family.starts is not None else None
    return b"" if start is None else chunk(field, _timestamp(start))


def _time(family: Family, index: int) -> bytes:
    stamp = family.stamps[index] if family.stamps is not None else None
    return b"" if stamp is None else whole(6, round(stamp * 1000))


def _timestamp(seconds: float) -> bytes:
    # Through microseconds: nanoseconds of a float's seconds would be noise.
    micros = round(seconds * 1e6)
    return whole(1, micros // 1_000_000) + whole(2, micros % 1_000_000 * 1000)


def _exemplar(text: str) -> bytes:
    end = text.rindex("}") + 1
    value, _, stamp = text[end:].strip().partition(" ")
    labels = b"".join(
        [chunk(1, chunk(1, name.encode()) + chunk(2, each.encode())) for name, each in parsed(text[:end])]
    )
    return labels + double(2, float(value)) + (chunk(3, _timestamp(float(stamp))) if stamp else b"")


@lru_cache(maxsize=65_536)
def _labels(text: str) -> bytes:
    return b"".join([chunk(1, chunk(1, name.encode()) + chunk(2, value.encode())) for name, value in labels_of(text)])


@lru_cache(maxsize=65_536)
def _without(text: str, bound: str) -> str:
    return block(pair for pair in labels_of(text) if pair[0] != bound)


def _limit(text: str, bound: str) -> float:
    return floats([dict(labels_of(text)).get(bound, "NaN")])[0]


# --- reading ----------------------------------------------------------------------------------------------------------

Message = list[tuple[int, int | float | bytes]]


def parse(data: bytes) -> list[Family]:
    """The families of a page, in its order.

    Raises:
        ValueError: it is no such page; the message says which family is wrong.
    """
    found = []
    at = 0
    while at < len(data):
        try:
            size, at = _size(data, at)
            message = data[at : at + size]
            if len(message) < size:
                raise ValueError("it is cut short")  # noqa: TRY301 - told with its number, as every other mistake
            found.append(_read_family(message))
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"family {len(found) + 1}: {error}") from None
        at += size
    return found


def _size(data: bytes, at: int) -> tuple[int, int]:
    end = at
    while end < len(data) and data[end] & 0x80 and end - at < 10:
        end += 1
    # A field of number 1 whose value is the size: the same digits.
    ((_, size),) = fields(b"\x08" + data[at : end + 1])
    if not isinstance(size, int) or size < 0:
        raise ValueError("its length is not a number")
    return size, end + 1


def _read_family(message: bytes) -> Family:
    parts = list(fields(message))
    kind = _KINDS.get(_whole(parts, 3), "unknown")
    family = Family(_text(parts, 1), kind, _text(parts, 2), _text(parts, 5))
    if not family.name:
        raise ValueError("it has no name")
    if kind not in _SCALARS:
        family.suffixes = []
    reader = _READERS[kind]
    stamps: list[float | None] = []
    starts: list[float | None] = []
    for metric in _messages(parts, 4):
        labels = [(_text(pair, 1), _text(pair, 2)) for pair in _messages(metric, 1)]
        first = len(family.values)
        start = reader(family, block(labels), metric)
        count = len(family.values) - first
        stamp = next((int(value) / 1000 for number, value in metric if number == 6), None)
        stamps += [stamp] * count
        own = block(labels)
        starts += [start if text == own else None for text in family.blocks[first:]]
    family.stamps = stamps if any(stamp is not None for stamp in stamps) else None
    family.starts = starts if any(start is not None for start in starts) else None
    return family


def _scalar(field: int, family: Family, text: str, metric: Message) -> float | None:
    content = next(_messages(metric, field), [])
    family.blocks.append(text)
    family.values.append(_double(content, 1))
    exemplar = next(_messages(content, 2), None) if field == 3 else None
    if exemplar is not None:
        family.exemplars[len(family.values) - 1] = _exemplar_text(exemplar)
    return _seconds(next(_messages(content, 3), None)) if field == 3 else None


def _read_summary(family: Family, text: str, metric: Message) -> float | None:
    content = next(_messages(metric, 4), [])
    for quantile in _messages(content, 3):
        _add(family, "", with_label(text, "quantile", number(_double(quantile, 1))), _double(quantile, 2))
    _add(family, "_count", text, float(_whole(content, 1)))
    _add(family, "_sum", text, _double(content, 2))
    return _seconds(next(_messages(content, 4), None))


def _read_histogram(family: Family, text: str, metric: Message) -> float | None:
    content = next(_messages(metric, 7), [])
    count = _double(content, 4) or float(_whole(content, 1))
    bound = -inf
    for bucket in _messages(content, 3):
        bound = _double(bucket, 2)
        _add(family, "_bucket", with_label(text, "le", number(bound)), _double(bucket, 4) or float(_whole(bucket, 1)))
        for exemplar in _messages(bucket, 3):
            family.exemplars[len(family.values) - 1] = _exemplar_text(exemplar)
    if bound != inf:
        _add(family, "_bucket", with_label(text, "le", "+Inf"), count)  # which the format leaves out
    gauge = "g" if family.kind == "gaugehistogram" else ""
    native = b"".join([_field(number, value) for number, value in content if number in _NATIVE])
    if native:
        family.natives[len(family.values)] = native
    _add(family, f"_{gauge}count", text, count)
    _add(family, f"_{gauge}sum", text, _double(content, 2))
    return _seconds(next(_messages(content, 15), None))


_READERS: dict[Kind, Callable[[Family, str, Message], float | None]] = {
    "counter": partial(_scalar, 3),
    "gauge": partial(_scalar, 2),
    "unknown": partial(_scalar, 5),
    "summary": _read_summary,
    "histogram": _read_histogram,
    "gaugehistogram": _read_histogram,
}


def _add(family: Family, suffix: str, text: str, value: float) -> None:
    assert family.suffixes is not None
    family.suffixes.append(suffix)
    family.blocks.append(text)
    family.values.append(value)


def _exemplar_text(message: Message) -> str:
    labels = block((_text(pair, 1), _text(pair, 2)) for pair in _messages(message, 1))
    stamp = _seconds(next(_messages(message, 3), None))
    return f"{labels or '{}'} {number(_double(message, 2))}" + ("" if stamp is None else f" {_time_text(stamp)}")


def _time_text(seconds: float) -> str:
    """A time as OpenMetrics has it, without an exponent."""
    return repr(seconds).removesuffix(".0")


def _seconds(message: Message | None) -> float | None:
    return None if message is None else _whole(message, 1) + _whole(message, 2) / 1e9


def _messages(parts: Message, field: int) -> Iterator[Message]:
    for each, value in parts:
        if each == field:
            if not isinstance(value, bytes):
                raise ValueError(f"field {field} is no message")
            yield list(fields(value))


def _text(parts: Message, field: int) -> str:
    value = next((value for number, value in parts if number == field), b"")
    if not isinstance(value, bytes):
        raise ValueError(f"field {field} is no text")  # noqa: TRY004 - the message is wrong, not a type
    return value.decode()


def _whole(parts: Message, field: int) -> int:
    return int(next((value for number, value in parts if number == field), 0))


def _double(parts: Message, field: int) -> float:
    return float(next((value for number, value in parts if number == field), 0.0))


def _field(number: int, value: int | float | bytes) -> bytes:  # noqa: PYI041 - which of the two counts here
    if isinstance(value, bytes):
        return chunk(number, value)
    return double(number, value) if isinstance(value, float) else whole(number, value)
