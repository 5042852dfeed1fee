"""What happens in an ambassador: one method per happening, which logs and counts, by what it happens to."""

from __future__ import annotations

from podpatterns.ambassador.events.access import AccessEvents
from podpatterns.ambassador.events.policies import PolicyEvents
from podpatterns.ambassador.events.requests import RequestEvents
from podpatterns.ambassador.events.routing import RoutingEvents
from podpatterns.ambassador.events.tally import BROKEN, CLASSES, StreamTally, Tally
from podpatterns.ambassador.events.upstreams import UpstreamEvents
from podpatterns.runtime.telemetry import Telemetry

__all__ = ["BROKEN", "CLASSES", "AmbassadorEvents", "StreamTally", "Tally"]


class AmbassadorEvents(RequestEvents, UpstreamEvents, PolicyEvents, AccessEvents, RoutingEvents):
    """All of them, for whoever meets several."""

    def __init__(self, telemetry: Telemetry) -> None:
        for part in AmbassadorEvents.__bases__:
            part.__init__(self, telemetry)  # type: ignore[misc]  # each base in its turn, as super() could not
