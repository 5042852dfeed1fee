"""A collector of NDJSON."""

from __future__ import annotations

import json

from podpatterns.testing.server import Answer, Seen
from podpatterns.testing.stores.store import FakeStore, need, once


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
        records = [json.loads(line, object_pairs_hook=once) for line in seen.body.split(b"\n")[:-1]]
        need(all(isinstance(record, dict) for record in records), "a line is an object")
        if any(self.refuse(record) for record in records):
            return Answer(400, b"a record that nobody wants")
        self.records += records
        return Answer(204)
