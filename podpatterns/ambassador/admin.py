"""The ambassador's admin routes: see the versions, change the weights. For loopback alone."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from podpatterns.ambassador.events import StreamTally, Tally
from podpatterns.ambassador.ramp import Action
from podpatterns.ambassador.route import Route
from podpatterns.runtime import service
from podpatterns.runtime.decode import suggest
from podpatterns.runtime.service import Reply, Request

if TYPE_CHECKING:
    from podpatterns.ambassador.runtime import Ambassador


class Weights(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `PUT /ambassador/weights`; listener and route are needed where several splits have the versions."""

    weights: dict[str, int]
    listener: str | None = None
    route: str | None = None


class Steer(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `PUT /ambassador/ramp`; listener and route are needed where there are several ramps."""

    action: Action
    listener: str | None = None
    route: str | None = None


class Control:
    """`GET /ambassador` and its page, `PUT /ambassador/weights` and `PUT /ambassador/ramp`."""

    def __init__(self, ambassador: Ambassador) -> None:
        self._ambassador = ambassador

    def routes(self) -> list[service.Route]:
        """For the admin endpoint."""
        return [
            service.Route("GET", "/ambassador", self.show),
            service.Route("GET", "/ambassador/page", self.page),
            service.Route("PUT", "/ambassador/weights", self.change),
            service.Route("PUT", "/ambassador/ramp", self.steer),
        ]

    async def show(self, _request: Request) -> Reply:
        """Listeners with routes, versions, weights and measured shares; upstreams with their addresses' state."""
        ambassador = self._ambassador
        return Reply(
            {
                "listeners": {
                    listener.name: {"port": listener.port, "routes": [_shown(route) for route in listener.routes]}
                    for listener in ambassador.listeners
                },
                "upstreams": {name: dict(each.describe()) for name, each in ambassador.upstreams.items()},
            }
        )

    async def page(self, _request: Request) -> Reply:
        """The same for people with a browser; it needs nothing from elsewhere."""
        page = files("podpatterns.ambassador").joinpath("page.html").read_bytes()
        return Reply(page, content_type="text/html; charset=utf-8")

    async def change(self, request: Request) -> Reply:
        """Change the weights of one split, from the next request on; a later change of the file takes their place."""
        try:
            wanted = msgspec.json.decode(request.body, type=Weights)
        except msgspec.MsgspecError as error:
            return Reply({"error": f'{error}; send {{"weights": {{"stable": 50, "test": 50}}}}'}, status=400)
        found = [route for route in self._named(wanted) if wanted.weights.keys() <= route.targets.keys()]
        if not found and (unknown := self._unknown(wanted)):
            return Reply({"error": unknown}, status=400)
        if len(found) != 1:
            return self._ambiguous("several splits have" if found else "no split has", "these versions")
        try:
            found[0].reweigh(wanted.weights)
        except ValueError as error:
            return Reply({"error": str(error)}, status=400)
        return Reply(_shown(found[0]))

    async def steer(self, request: Request) -> Reply:
        """Pause, resume, abort, promote or restart a ramp."""
        try:
            wanted = msgspec.json.decode(request.body, type=Steer)
        except msgspec.MsgspecError as error:
            actions = ", ".join(get_args(Action))
            return Reply({"error": f'{error}; send {{"action": "pause"}}, or one of {actions}'}, status=400)
        found = [route.rollout for route in self._named(wanted) if route.rollout is not None]
        if not found and (unknown := self._unknown(wanted)):
            return Reply({"error": unknown}, status=400)
        if len(found) != 1:
            return self._ambiguous("several routes have" if found else "no route has", "a ramp")
        try:
            found[0].ask(wanted.action)
        except ValueError as error:
            return Reply({"error": str(error)}, status=409)
        return Reply(_shown(found[0].route))

    def _named(self, wanted: Weights | Steer) -> Iterator[Route]:
        for route in self._ambassador.all_routes():
            if wanted.route in (None, route.name) and wanted.listener in (None, route.listener):
                yield route

    def _unknown(self, wanted: Weights | Steer) -> str:
        """Which name of the request is not known here, with what was probably meant; empty if all are."""
        routes = list(self._ambassador.all_routes())
        named = list(self._named(wanted)) or routes
        versions = {version: None for route in named for version in route.targets}
        asked = wanted.weights if isinstance(wanted, Weights) else ()
        places = (
            ("listener", [wanted.listener], {route.listener: None for route in routes}),
            ("route", [wanted.route], {route.name: None for route in routes}),
            ("version", asked, versions),
        )
        for noun, names, known in places:
            for name in names:
                if name is not None and name not in known:
                    return f'there is no {noun} "{name}"{suggest(name, known)}'
        return ""

    def _ambiguous(self, problem: str, what: str) -> Reply:
        choice = [{"listener": route.listener, "route": route.name} for route in self._ambassador.all_routes()]
        return Reply({"error": f"{problem} {what}; name listener and route", "choice": choice}, status=400)


def _shown(route: Route) -> dict[str, Any]:
    requests = {version: target.tally.requests for version, target in route.targets.items()}
    total = sum(requests.values())
    picks = sum(target.picks for target in route.targets.values())
    own = route.events.tallies.get((route.listener, route.name, ""))
    return {
        "route": route.name,
        "match": str(route.config.match),
        "versions": {
            version: {
                "weight": route.split.weights[version],
                "requests": requests[version],
                "share": round(requests[version] / total, 4) if total else None,
                "share_since_change": round(target.picks / picks, 4) if picks else None,
                **_outcome(target.tally),
            }
            for version, target in route.targets.items()
        },
        "answered_here": None if own is None else {"requests": own.requests, "flags": _flags(own)},
        "ramp": route.rollout.describe() if route.rollout is not None else None,
    }


def _outcome(tally: Tally) -> dict[str, Any]:
    """How a version has done since the start; the times are estimated from the histogram's buckets."""
    p50, p99 = (tally.latency.quantile(q) for q in (0.5, 0.99))
    if isinstance(tally, StreamTally):
        return {"bytes_sent": int(tally.sent.value), "bytes_received": int(tally.received.value)}
    return {
        "success": round(1 - tally.failures / tally.answered, 4) if tally.answered else None,
        "failures": tally.failures,
        "retried": tally.retried,
        "clients_gone": tally.gone,
        "p50_seconds": None if p50 is None else round(p50, 6),
        "p99_seconds": None if p99 is None else round(p99, 6),
        "flags": _flags(tally),
    }


def _flags(tally: Tally) -> dict[str, int]:
    return {flag: int(cell.value) for flag, cell in tally.flags.items()}
