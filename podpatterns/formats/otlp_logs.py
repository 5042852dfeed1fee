"""OpenTelemetry's log records, in the JSON encoding of OTLP.

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding and the logs data model. 64-bit numbers are
text, and every value is an AnyValue: an object with one field that names its type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podpatterns.formats.severity import severity


def any_value(value: Any) -> dict[str, Any]:
    """A value of JSON as AnyValue; a whole number beyond 64 bits as text, null as a value without any."""
    if value is None:
        return {}
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue" if -(2**63) <= value < 2**63 else "stringValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, Mapping):
        return {"kvlistValue": {"values": attributes(value)}}
    return {"arrayValue": {"values": [any_value(item) for item in value]}}


def attributes(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Fields as a list of KeyValue."""
    return [{"key": name, "value": any_value(value)} for name, value in fields.items()]


def log_record(
    fields: dict[str, Any], *, when: int | None, observed: int, body: str, level: str | None
) -> dict[str, Any]:
    """A LogRecord of a record's fields.

    Args:
        fields: the record; what becomes a field of its own in the LogRecord is taken out of it.
        when: nanoseconds since 1970, None if the record does not say.
        observed: when it was seen.
        body: the field that is the body; without it the record has none.
        level: the field that is the severity. Text that is no known level stays an attribute.
    """
    record: dict[str, Any] = {"observedTimeUnixNano": str(observed)}
    if when is not None:
        record["timeUnixNano"] = str(when)
    if level is not None and (known := severity(fields.get(level))) is not None:
        record["severityNumber"] = known.otlp
        record["severityText"] = str(fields.pop(level))
    if body in fields:
        record["body"] = any_value(fields.pop(body))
    record["attributes"] = attributes(fields)
    return record
