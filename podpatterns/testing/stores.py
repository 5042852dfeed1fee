"""Fakes of log stores that speak HTTP: they keep what is well-formed and refuse everything else.

Each is as strict as its protocol's documentation, and stricter where real stores forgive: what a fake accepts, the
store accepts. `records` is what has been stored, once each, in order; `refuse` is a function that says which records
are poison. What is scripted with `will` is answered instead of storing anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from podpatterns.testing.server import Answer, FakeServer, Seen

Refuse = Callable[[Mapping[str, Any]], bool]


class Malformed(Exception):  # noqa: N818 - named after what it says of a request
    """The request is not what the protocol asks for."""


def need(holds: object, otherwise: str) -> None:
    """Refuse the request unless this holds."""
    if not holds:
        raise Malformed(otherwise)


def _answer(status: int, data: Any) -> Answer:
    return Answer(status, json.dumps(data).encode(), {"Content-Type": "application/json"})


class FakeStore(FakeServer):
    """What they share: one path, one content type, and 400 with the reason for anything malformed."""

    PATH = "/"
    CONTENT_TYPE = "application/json"

    def __init__(self) -> None:
        super().__init__()
        self.records: list[dict[str, Any]] = []
        self.malformed: list[str] = []
        """Why requests were refused as a whole; empty if the sender knows the protocol."""
        self.refuse: Refuse = lambda _: False

    def reply(self, seen: Seen) -> Answer:
        """Store, or say what is wrong."""
        try:
            need(seen.method == "POST", "only POST")
            need(seen.path.partition("?")[0] == self.PATH, f"no such path: {seen.path}")
            need(seen.headers.get("Content-Type") == self.CONTENT_TYPE, f"only {self.CONTENT_TYPE}")
            return self.store(seen)
        except (Malformed, ValueError, KeyError, TypeError, AttributeError) as error:
            self.malformed.append(f"{type(error).__name__}: {error}")
            return Answer(400, str(error).encode())

    def store(self, seen: Seen) -> Answer:
        """Keep the request's records. Raises Malformed, or what reading a wrong shape raises."""
        raise NotImplementedError


class FakeHttp(FakeStore):
    """A collector of NDJSON at `/ingest`.

    Strict: each line an object, a newline at the end, no key twice. A request with a record that `refuse` names is
    answered with 400 as a whole, and nothing of it is stored.
    """

    PATH = "/ingest"
    CONTENT_TYPE = "application/x-ndjson"

    def store(self, seen: Seen) -> Answer:
        """All of it, or nothing."""
        need(seen.body.endswith(b"\n"), "a line without its end")
        records = [json.loads(line, object_pairs_hook=_once) for line in seen.body.split(b"\n")[:-1]]
        need(all(isinstance(record, dict) for record in records), "a line is an object")
        if any(self.refuse(record) for record in records):
            return Answer(400, b"a record that nobody wants")
        self.records += records
        return Answer(204)


class FakeLoki(FakeStore):
    """Loki's push API in JSON.

    Strict: at least one label, names and values of labels, times as text of digits, lines as text, no empty stream.
    As Loki does, it keeps equal entries of a stream once, and stores what is valid of a push that it answers with 400;
    it names what it has ignored of the last stream that had something, at most ten entries, as Loki does.
    `entries` are (labels, nanoseconds, line); `records` are the lines that are JSON.
    """

    PATH = "/loki/api/v1/push"

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[tuple[dict[str, str], int, str]] = []

    def store(self, seen: Seen) -> Answer:
        """A push."""
        complaint = b""
        for stream in json.loads(seen.body)["streams"]:
            need(stream.keys() == {"stream", "values"} and stream["values"], "a stream has labels and values")
            labels = stream["stream"]
            need(labels, "at least one label pair is required per stream")
            for name, text in labels.items():
                need(name.replace("_", "a").isalnum() and not name[0].isdigit(), f"bad label name {name}")
                need(isinstance(text, str) and text, f"bad value of label {name}")
            bad: list[str] = []
            for when, line in stream["values"]:
                need(isinstance(when, str) and when.isdigit() and len(when) == 19, f"bad time {when}")
                need(isinstance(line, str), "a line is text")
                try:
                    record = json.loads(line)
                except ValueError:
                    record = {"message": line}
                if self.refuse(record):
                    bad.append(when)
                elif (labels, int(when), line) not in self.entries:
                    self.entries.append((labels, int(when), line))
                    self.records.append(record)
            if bad:
                complaint = self.complaint(bad, len(stream["values"]), labels)
        return Answer(400, complaint) if complaint else Answer(204)

    def complaint(self, bad: list[str], total: int, labels: Mapping[str, str]) -> bytes:
        """What is said about a stream of which something was ignored; `bad` are nanoseconds."""
        from datetime import UTC, datetime

        lines = ""
        for when in bad[:10]:
            second = f"{datetime.fromtimestamp(int(when[:-9]), UTC):%Y-%m-%d %H:%M:%S}"
            fraction = f".{when[-9:]}".rstrip("0").rstrip(".")
            lines += f"entry with timestamp {second}{fraction} +0000 UTC ignored, reason: 'entry too far behind',\n"
        stream = ", ".join(f'{name}="{text}"' for name, text in labels.items())
        return f"{lines}user 'fake', total ignored: {len(bad)} out of {total} for stream: {{{stream}}}".encode()


class FakeElasticsearch(FakeStore):
    """The bulk API.

    Strict: only `create` with an `_id` and nothing else, an object with a readable `@timestamp` behind each action, no
    key twice, a newline at the end. `status` says what becomes of a new document (201); one whose `_id` is there gets
    409; what `refuse` names gets 400. `filter_path` is honoured by leaving everything else out.
    """

    CONTENT_TYPE = "application/x-ndjson"

    def __init__(self, index: str = "logs") -> None:
        super().__init__()
        self.PATH = f"/{index}/_bulk"
        self.documents: dict[str, dict[str, Any]] = {}
        self.status: Callable[[Mapping[str, Any]], int] = lambda _: 201
        self.asked: list[int] = []
        """Documents of each request."""

    def store(self, seen: Seen) -> Answer:
        """A bulk request."""
        need(seen.body.endswith(b"\n"), "The bulk request must be terminated by a newline")
        lines = seen.body.split(b"\n")[:-1]
        need(len(lines) % 2 == 0, "an action without a document")
        items = [self._item(*pair) for pair in zip(lines[::2], lines[1::2], strict=True)]
        self.asked.append(len(items))
        return _answer(
            200, {"errors": any(item["status"] >= 300 for item in items), "items": [{"create": item} for item in items]}
        )

    def _item(self, action: bytes, line: bytes) -> dict[str, Any]:
        from datetime import datetime

        order = json.loads(action)
        need(order.keys() == {"create"} and order["create"].keys() == {"_id"}, f"bad action {order}")
        name, document = order["create"]["_id"], json.loads(line, object_pairs_hook=_once)
        need(isinstance(name, str) and isinstance(document, dict), "an _id and an object")
        datetime.fromisoformat(document["@timestamp"])
        if name in self.documents:
            return {"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "exists"}}
        status = 400 if self.refuse(document) else self.status(document)
        if status >= 300:
            return {"status": status, "error": {"type": "some_exception", "reason": f"answer {status}"}}
        self.documents[name] = document
        self.records.append(document)
        return {"status": status}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    need(len(dict(pairs)) == len(pairs), "a key stands there twice")
    return dict(pairs)


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
            return _answer(200, {})
        return _answer(200, {"partialSuccess": {"rejectedLogRecords": str(rejected), "errorMessage": "too old"}})

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


class FakeSplunk(FakeStore):
    """Splunk's HTTP event collector, for events.

    Strict: the token, events one after the other, no key of an event that Splunk does not know, `event` there and not
    empty, `time` a number. An event that `refuse` names (or that is malformed) ends the request with 400 and its number
    in `invalid-event-number`, counted from `first`: what stands before it is kept, the rest is not looked at. With a
    channel, events count as
    indexed when the acknowledgement has been asked for `polls` times.
    """

    PATH = "/services/collector/event"
    KEYS = frozenset({"time", "host", "source", "sourcetype", "index", "event", "fields"})

    def __init__(self, token: str = "secret", *, polls: int = 1) -> None:  # noqa: S107 - a fake
        super().__init__()
        self.token = token
        self.events: list[dict[str, Any]] = []
        self.polls = polls
        self.first = 0
        self.code = 6
        """What is answered for events that are refused."""
        self._asked: dict[int, int] = {}

    def reply(self, seen: Seen) -> Answer:
        """An event request, or one about acknowledgements."""
        if seen.headers.get("Authorization") != f"Splunk {self.token}":
            return _answer(403, {"text": "Invalid token", "code": 4})
        if seen.path.startswith("/services/collector/ack?channel="):
            return self._acknowledge(json.loads(seen.body)["acks"])
        return super().reply(seen)

    def store(self, seen: Seen) -> Answer:
        """Events in a row."""
        text, position, number = seen.body.decode(), 0, 0
        decoder = json.JSONDecoder()
        need(text, "no data")
        while position < len(text):
            try:
                event, position = decoder.raw_decode(text, position)
                need(event.keys() <= self.KEYS, f"unknown keys {event.keys() - self.KEYS}")
                need(isinstance(event.get("time", 0), (int, float)), "time is a number")
                need(event.get("event") not in (None, "", {}), "Event field cannot be blank")
            except (ValueError, Malformed) as error:
                self.malformed.append(str(error))
                return self._refused(str(error), number)
            if self.refuse(event["event"]):
                return self._refused("Invalid data format", number)
            self.events.append(event)
            self.records.append(event["event"])
            number += 1
        done: dict[str, Any] = {"text": "Success", "code": 0}
        if "X-Splunk-Request-Channel" in seen.headers:
            done["ackId"] = len(self._asked)
            self._asked[len(self._asked)] = 0
        return _answer(200, done)

    def _refused(self, text: str, number: int) -> Answer:
        return _answer(400, {"text": text, "code": self.code, "invalid-event-number": number + self.first})

    def _acknowledge(self, names: list[int]) -> Answer:
        for name in names:
            self._asked[name] += 1
        return _answer(200, {"acks": {str(name): self._asked[name] >= self.polls for name in names}})


class FakeS3(FakeServer):
    """A bucket, with its name in the path.

    Strict: only PUT of an object below the bucket, signed with Signature Version 4 over every header that was sent and
    over the body, which has the hash that the request says; another bucket is answered 404, other keys 403.
    `objects` are the bodies by key, decompressed; `records` the records of all of them.
    """

    def __init__(self, bucket: str = "shop-logs", keys: tuple[str, str] = ("id", "secret")) -> None:
        super().__init__()
        self.bucket, self.keys = bucket, keys
        self.objects: dict[str, bytes] = {}
        self.puts: list[str] = []
        """Keys, as often as they were put."""
        self.malformed: list[str] = []

    @property
    def records(self) -> list[dict[str, Any]]:
        """What the objects hold."""
        return [json.loads(line) for body in self.objects.values() for line in body.splitlines()]

    def reply(self, seen: Seen) -> Answer:
        """Keep an object, or say what is wrong."""
        try:
            return self._put(seen)
        except (Malformed, ValueError, KeyError) as error:
            self.malformed.append(f"{type(error).__name__}: {error}")
            return self.error(400, "InvalidRequest")

    def error(self, status: int, code: str) -> Answer:
        """An answer as S3 gives it."""
        text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{code} it is</Message></Error>'
        return Answer(status, text.encode(), {"Content-Type": "application/xml"})

    def _put(self, seen: Seen) -> Answer:
        import hashlib
        import re
        from urllib.parse import unquote

        from podpatterns.formats import sigv4

        need(seen.method == "PUT", "only PUT")
        given = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=(\S+)/\d{8}/([a-z0-9-]+)/s3/aws4_request, SignedHeaders=(\S+), Signature=\S+",
            seen.headers["Authorization"],
        )
        need(given, "not signed")
        assert given is not None
        headers = {name.lower(): value for name, value in seen.headers.items() if name.lower() != "content-length"}
        proof = headers.pop("authorization")
        need(given[3] == ";".join(sorted(headers)), "every header is signed, in order")
        need(headers["x-amz-content-sha256"] == hashlib.sha256(seen.raw).hexdigest(), "the hash of the body")
        now, token = headers["x-amz-date"], headers.get("x-amz-security-token")
        pure = {name: value for name, value in headers.items() if name not in OF_SIGNATURE}
        keys = sigv4.Keys(*self.keys, token)
        right = sigv4.signed("PUT", seen.path, pure, seen.raw, keys, region=given[2], now=now)["Authorization"]
        if given[1] != self.keys[0]:
            return self.error(403, "InvalidAccessKeyId")
        if right != proof:
            return self.error(403, "SignatureDoesNotMatch")
        bucket, _, key = unquote(seen.path).removeprefix("/").partition("/")
        if bucket != self.bucket:
            return self.error(404, "NoSuchBucket")
        need(key and "//" not in seen.path, "an object has a key")
        self.objects[key] = seen.body
        self.puts.append(key)
        return Answer(200, b"", {"ETag": '"0"'})


OF_SIGNATURE = frozenset({"x-amz-content-sha256", "x-amz-date", "x-amz-security-token"})
