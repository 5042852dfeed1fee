"""Elasticsearch and OpenSearch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from podpatterns.testing.server import Answer, Seen
from podpatterns.testing.stores.store import FakeStore, answer, need, once


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
        return answer(
            200, {"errors": any(item["status"] >= 300 for item in items), "items": [{"create": item} for item in items]}
        )

    def _item(self, action: bytes, line: bytes) -> dict[str, Any]:
        from datetime import datetime

        order = json.loads(action)
        need(order.keys() == {"create"} and order["create"].keys() == {"_id"}, f"bad action {order}")
        name, document = order["create"]["_id"], json.loads(line, object_pairs_hook=once)
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
