"""Splunk's HTTP event collector."""

from __future__ import annotations

import json
from typing import Any

from podpatterns.testing.server import Answer, Seen
from podpatterns.testing.stores.store import FakeStore, Malformed, answer, need


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
            return answer(403, {"text": "Invalid token", "code": 4})
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
        return answer(200, done)

    def _refused(self, text: str, number: int) -> Answer:
        return answer(400, {"text": text, "code": self.code, "invalid-event-number": number + self.first})

    def _acknowledge(self, names: list[int]) -> Answer:
        for name in names:
            self._asked[name] += 1
        return answer(200, {"acks": {str(name): self._asked[name] >= self.polls for name in names}})
