"""An OpenTelemetry collector of logs."""

from __future__ import annotations

import json
from typing import Any

from podpatterns.testing.server import Answer, Seen
from podpatterns.testing.stores.store import FakeStore, answer, need

_VALUES = {
    "stringValue": (str,),
    "boolValue": (bool,),
    "intValue": (str,),
    "doubleValue": (int, float),
    "arrayValue": (dict,),
    "kvlistValue": (dict,),
}


class FakeOtlp(FakeStore):
    """OTLP/HTTP with JSON.

    Strict: no field that LogRecord does not have, 64-bit numbers as text, each AnyValue with at most one value of the
    right kind, attributes named once. What `refuse` names (as a record: its attributes, with the body as `message`) is
    reported as `partialSuccess` and not stored. `resources` are the attributes of each request's resources.
    """

    PATH = "/v1/logs"
    FIELDS = frozenset({"timeUnixNano", "observedTimeUnixNano", "severityNumber", "severityText", "body", "attributes"})

    def __init__(self) -> None:
        super().__init__()
        self.resources: list[dict[str, Any]] = []
        self.logs: list[dict[str, Any]] = []
        """The log records as they came."""

    def store(self, seen: Seen) -> Answer:
        """An export request."""
        rejected = 0
        request = json.loads(seen.body)
        need(request.keys() == {"resourceLogs"}, "resourceLogs")
        for resource in request["resourceLogs"]:
            need(resource.keys() <= {"resource", "scopeLogs", "schemaUrl"}, "a field that ResourceLogs does not have")
            self.resources.append(_attributes(resource.get("resource", {}).get("attributes", [])))
            for scope in resource["scopeLogs"]:
                need(scope.keys() <= {"scope", "logRecords", "schemaUrl"}, "a field that ScopeLogs does not have")
                rejected += sum(not self._keep(log) for log in scope["logRecords"])
        if not rejected:
            return answer(200, {})
        return answer(200, {"partialSuccess": {"rejectedLogRecords": str(rejected), "errorMessage": "too old"}})

    def _keep(self, log: dict[str, Any]) -> bool:
        need(log.keys() <= self.FIELDS, f"a field that LogRecord does not have: {log.keys() - self.FIELDS}")
        for name in ("timeUnixNano", "observedTimeUnixNano"):
            need(log.get(name, "0").isdigit(), f"{name} is text of digits")
        need(log.get("severityNumber", 0) in range(25), "severityNumber")
        record = {**_attributes(log.get("attributes", []))}
        if "body" in log:
            record["message"] = _any_value(log["body"])
        if self.refuse(record):
            return False
        self.logs.append(log)
        self.records.append(record)
        return True


def _attributes(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    for pair in pairs:
        need(pair.keys() == {"key", "value"} and isinstance(pair["key"], str), "a KeyValue has key and value")
    need(len({pair["key"] for pair in pairs}) == len(pairs), "an attribute stands there twice")
    return {pair["key"]: _any_value(pair["value"]) for pair in pairs}


def _any_value(value: dict[str, Any]) -> Any:
    need(len(value) <= 1 and value.keys() <= _VALUES.keys(), f"not an AnyValue: {value}")
    for kind, inner in value.items():
        need(type(inner) in _VALUES[kind], f"{kind}: {inner}")
        if kind == "intValue":
            need(-(2**63) <= int(inner) < 2**63, "a 64-bit number")
            return int(inner)
        if kind == "arrayValue":
            return [_any_value(each) for each in inner.get("values", [])]
        return _attributes(inner.get("values", [])) if kind == "kvlistValue" else inner
    return None
