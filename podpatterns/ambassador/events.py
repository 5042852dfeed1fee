"""What happens in an ambassador: one method per happening, which logs and counts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from podpatterns.runtime.telemetry import Cell, Distribution, Telemetry

if TYPE_CHECKING:
    from podpatterns.ambassador.endpoints.pool import Pool
    from podpatterns.ambassador.listeners import Listener
    from podpatterns.ambassador.ramp import Move
    from podpatterns.ambassador.rollout import Rollout
    from podpatterns.ambassador.tls import Tls

CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")

BROKEN = frozenset({"bad_body", "idle_timeout", "total_timeout", "truncated"})
"""Flags of responses that the upstream began and did not end: whatever their status, it has failed."""


class Tally:
    """The requests of one listener and route that one version has answered; the hot path adds to it directly."""

    __slots__ = ("_flag", "broken", "classes", "flags", "latency", "retried", "version")

    def __init__(
        self,
        version: str,
        classes: list[Cell],
        latency: Distribution,
        flag: Callable[[str], Cell] = lambda _: Cell(),
    ) -> None:
        self.version = version
        self.classes = classes
        """By the first digit of the status; index 0 for clients that left before there was one."""
        self.latency = latency
        self.flags: dict[str, Cell] = {}
        """By the response flag."""
        self.broken = 0
        """Responses with a good status that were not completed."""
        self.retried = 0
        """Attempts that failed and were made again: not requests of their own."""
        self._flag = flag

    @property
    def requests(self) -> int:
        """All of them."""
        return int(sum(cell.value for cell in self.classes))

    @property
    def answered(self) -> int:
        """Those whose client has waited for the answer."""
        return self.requests - self.gone

    @property
    def gone(self) -> int:
        """Those whose client left before there was an answer."""
        return int(self.classes[0].value)

    @property
    def failures(self) -> int:
        """Those that were answered with 500 or more, by the version or in its place, or incompletely."""
        return int(self.classes[5].value) + self.broken

    def flagged(self, flag: str, status: int) -> None:
        """The response is not what the upstream wanted to say; seldom enough for a look-up."""
        cell = self.flags.get(flag)
        if cell is None:
            cell = self.flags[flag] = self._flag(flag)
        cell.value += 1
        if flag in BROKEN and status < 500:
            self.broken += 1


class StreamTally(Tally):
    """The connections of one TCP listener that one version has taken; `latency` is how long they last."""

    __slots__ = ("received", "sent")

    def __init__(self, version: str, opened: Cell, lasted: Distribution, sent: Cell, received: Cell) -> None:
        super().__init__(version, [opened], lasted)
        self.sent = sent
        """Bytes from the client to the version."""
        self.received = received
        """Bytes from the version to the client."""


class AmbassadorEvents:
    """The happenings of listeners, exchanges and upstreams."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.via = b"podpatterns-" + os.urandom(4).hex().encode()
        """This ambassador's name in Via; random, so that two of them in a row are not taken for a loop."""
        self.tallies: dict[tuple[str, str, str], Tally] = {}
        self.dropped = 0
        """Requests that were taken and then given up by us: neither the client nor the upstream wanted that."""
        self._log = telemetry.log
        self._requests = telemetry.counter(
            "podpatterns_ambassador_requests",
            "Requests that were answered, by the class of the status.",
            ["listener", "route", "version", "status"],
        )
        self._flags = telemetry.counter(
            "podpatterns_ambassador_response_flags",
            "Requests whose response is not what the upstream wanted to say, by the reason.",
            ["listener", "route", "version", "flag"],
        )
        self._latency = telemetry.histogram(
            "podpatterns_ambassador_request_seconds",
            "Time from the end of a request's head to the end of its response.",
            ["listener", "route", "version"],
        )
        self._refusals = telemetry.counter(
            "podpatterns_ambassador_refusals",
            "Requests that were not forwarded, by the reason.",
            ["listener", "reason"],
        )
        self._failures = telemetry.counter(
            "podpatterns_ambassador_upstream_failures",
            "Exchanges that an upstream has failed, by the response flag.",
            ["version", "flag"],
        )
        self._gone = telemetry.counter(
            "podpatterns_ambassador_clients_gone", "Clients that left before they had their response.", ["listener"]
        )
        self._retries = telemetry.counter(
            "podpatterns_ambassador_retries", "Requests that were sent again, by what had failed.", ["version", "cause"]
        )
        self._retries_refused = telemetry.counter(
            "podpatterns_ambassador_retries_refused", "Retries for which the budget had nothing left.", ["version"]
        )
        self._connections = telemetry.counter(
            "podpatterns_ambassador_upstream_connections", "Connections opened to an upstream.", ["version"]
        )
        self._connect_failures = telemetry.counter(
            "podpatterns_ambassador_connect_failures", "Attempts to connect that failed.", ["version", "reason"]
        )
        self.pools: dict[str, Pool] = {}
        """Upstreams at work, by name."""
        telemetry.gauge(
            "podpatterns_ambassador_upstream_open_connections",
            "Connections to an upstream: active, idle, or connecting.",
            ["version", "state"],
            read=lambda: {
                (name, state): number for name, pool in self.pools.items() for state, number in pool.gauges().items()
            },
        )
        telemetry.gauge(
            "podpatterns_ambassador_upstream_pending_requests",
            "Requests that wait for a connection to an upstream.",
            ["version"],
            read=lambda: {(name,): pool.pending for name, pool in self.pools.items()},
        )
        telemetry.gauge(
            "podpatterns_ambassador_addresses",
            "Addresses of an upstream: well, resting after failures, or unhealthy by their checks.",
            ["version", "state"],
            read=lambda: {
                (name, state): number for name, pool in self.pools.items() for state, number in pool.addresses().items()
            },
        )
        self._checks = telemetry.counter(
            "podpatterns_ambassador_health_checks", "Active health checks, by their result.", ["version", "result"]
        )
        self._name_failures = telemetry.counter(
            "podpatterns_ambassador_dns_failures",
            "Names that could not be resolved; what was known holds.",
            ["version"],
        )
        self._name_changes = telemetry.counter(
            "podpatterns_ambassador_dns_changes", "Addresses that a name got or lost.", ["version", "change"]
        )
        self._ejections = telemetry.counter(
            "podpatterns_ambassador_ejections", "Rests of addresses that kept failing.", ["version", "reason"]
        )
        self._returns = telemetry.counter(
            "podpatterns_ambassador_returns", "Addresses that answer again after a rest.", ["version"]
        )
        self._panics = telemetry.counter(
            "podpatterns_ambassador_panics",
            "How often so few addresses were well that all of them were used.",
            ["version"],
        )
        self._drops = telemetry.counter(
            "podpatterns_ambassador_dropped", "Requests given up because the grace was over.", ["listener"]
        )
        self._streams = telemetry.counter(
            "podpatterns_ambassador_streams", "TCP connections that a version has taken.", ["listener", "version"]
        )
        self._streams_ended = telemetry.counter(
            "podpatterns_ambassador_streams_ended",
            "TCP connections that are over, by the reason.",
            ["listener", "reason"],
        )
        self._stream_bytes = telemetry.counter(
            "podpatterns_ambassador_stream_bytes",
            "Bytes passed on by TCP listeners: sent to the version, received from it.",
            ["listener", "version", "direction"],
        )
        self._stream_seconds = telemetry.histogram(
            "podpatterns_ambassador_stream_seconds", "How long TCP connections last.", ["listener", "version"]
        )
        self.listeners: Callable[[], Iterable[Listener[Any]]] = tuple
        telemetry.gauge(
            "podpatterns_ambassador_open_connections",
            "Connections of clients.",
            ["listener"],
            read=self._open_connections,
        )
        self._in_flight = telemetry.gauge(
            "podpatterns_ambassador_requests_in_flight",
            "Requests that are under way, of listeners that limit them.",
            ["listener"],
        )
        self.certificates: dict[str, Tls] = {}
        """TLS with a certificate of ours, by version."""
        telemetry.gauge(
            "podpatterns_ambassador_certificate_seconds_left",
            "Time until the certificate that we show to an upstream ends; negative once it has.",
            ["version"],
            read=lambda: {(version,): tls.seconds_left for version, tls in self.certificates.items()},
        )
        self._rotations = telemetry.counter(
            "podpatterns_ambassador_rotations",
            "Changes of files with certificates, keys and credentials, by what became of them.",
            ["version", "what", "outcome"],
        )
        self._tokens = telemetry.counter(
            "podpatterns_ambassador_tokens",
            "Requests for an access token, by what became of them.",
            ["version", "outcome"],
        )
        self._credentials = telemetry.counter(
            "podpatterns_ambassador_credentials_rejected",
            "Answers 401 to our credentials, by whether others could be had at once.",
            ["version", "others"],
        )
        self._rate_limited = telemetry.counter(
            "podpatterns_ambassador_rate_limited",
            "Requests that were answered 429 because their rate was above the limit.",
            ["listener", "route"],
        )
        self._keys_forgotten = telemetry.counter(
            "podpatterns_ambassador_rate_keys_forgotten",
            "Keys of a rate limit that were forgotten while in use, because there were too many.",
            ["listener", "route"],
        )
        self._faults = telemetry.counter(
            "podpatterns_ambassador_faults", "Requests that were broken on purpose.", ["listener", "route", "fault"]
        )
        self._hook_failures = telemetry.counter(
            "podpatterns_ambassador_hook_failures",
            "Calls of a hook that have failed; each was answered 500.",
            ["listener", "route", "hook"],
        )
        self._mirrored = telemetry.counter(
            "podpatterns_ambassador_mirrored",
            "Copies of requests, by the class of the answer, or by why there was none.",
            ["listener", "route", "version", "outcome"],
        )
        self._weights = telemetry.gauge(
            "podpatterns_ambassador_weight",
            "The weight of a version in a route's split.",
            ["listener", "route", "version"],
        )
        self.rollouts: Callable[[], Iterable[Rollout]] = tuple
        """The ramps in force."""
        telemetry.gauge(
            "podpatterns_ambassador_ramp_state",
            "1 for the state that a ramp is in.",
            ["listener", "route", "version", "state"],
            read=lambda: {
                (*each.labels, state.value): float(state is each.ramp.state)
                for each in self.rollouts()
                for state in type(each.ramp.state)
            },
        )
        telemetry.gauge(
            "podpatterns_ambassador_ramp_step",
            "The step that a ramp is on, or ended on, counted from 1.",
            ["listener", "route", "version"],
            read=lambda: {each.labels: each.ramp.step + 1 for each in self.rollouts()},
        )
        self._ramp_moves = telemetry.counter(
            "podpatterns_ambassador_ramp_moves",
            "What ramps have done (up, held, back, done, or what somebody asked for), by the cause.",
            ["listener", "route", "version", "move", "cause"],
        )

    # --- series ---------------------------------------------------------------------------------------------------

    def tally(self, listener: str, route: str, version: str) -> Tally:
        """The series of one version in one route; the same one after a reload."""
        key = (listener, route, version)
        if key not in self.tallies:
            cells = [Cell(), *(self._requests.cell(*key, name) for name in CLASSES)]
            self.tallies[key] = Tally(
                version, cells, self._latency.series(*key), lambda flag: self._flags.cell(*key, flag)
            )
        return self.tallies[key]

    def stream_tally(self, listener: str, route: str, version: str) -> StreamTally:
        """The series of one version behind a TCP listener; the same one after a reload."""
        key = (listener, route, version)
        found = self.tallies.get(key)
        if not isinstance(found, StreamTally):
            found = self.tallies[key] = StreamTally(
                version,
                self._streams.cell(listener, version),
                self._stream_seconds.series(listener, version),
                self._stream_bytes.cell(listener, version, "sent"),
                self._stream_bytes.cell(listener, version, "received"),
            )
        return found

    def recall_flags(self) -> None:
        """Give tallies the flags that were counted elsewhere."""
        for listener, route, version, flag in self._flags.series:
            tally = self.tallies.get((listener, route, version))
            if tally is not None:
                tally.flags[flag] = self._flags.cell(listener, route, version, flag)

    def _open_connections(self) -> dict[tuple[str, ...], float]:
        found: dict[tuple[str, ...], float] = {}
        for each in self.listeners():  # one that leaves has the name of the one that takes its place
            found[each.name,] = found.get((each.name,), 0) + len(each.connections)
        return found

    def in_flight(self, listener: str) -> Cell:
        """The requests of a listener that are under way; the same cell after a reload."""
        return self._in_flight.cell(listener)

    @property
    def failures(self) -> int:
        """Exchanges that upstreams have failed."""
        return int(self._failures.total)

    @property
    def refusals(self) -> int:
        """Requests that were not forwarded."""
        return int(self._refusals.total)

    @property
    def retries(self) -> int:
        """Requests that were sent again."""
        return int(self._retries.total)

    # --- listeners ------------------------------------------------------------------------------------------------

    def listening(self, listener: str, address: str) -> None:
        """A listener accepts connections."""
        self._log.info("ambassador.listener.listening", listener=listener, address=address)

    def listener_closed(self, listener: str, connections: int) -> None:
        """A listener accepts no more; the connections that it has are finished."""
        self._log.info("ambassador.listener.closed", listener=listener, connections=connections)

    def descriptors_short(self, needed: int, had: int) -> None:
        """The system will not let us hold as many connections as the configuration allows."""
        self._log.info(
            "ambassador.descriptors.short",
            needed=needed,
            had=had,
            advice="raise the limit of open files (ulimit -n), or lower max_connections",
        )

    def refused(self, listener: str, status: int, reason: str) -> None:
        """A message was malformed, ambiguous, too large or not handled here, or the listener is full."""
        self._refusals.add(listener, reason)
        self._log.info("ambassador.request.refused", listener=listener, status=status, reason=reason)

    def client_gone(self, listener: str) -> None:
        """A client left before it had its response."""
        self._gone.add(listener)
        self._log.debug("ambassador.client.gone", listener=listener)

    def request_dropped(self, listener: str) -> None:
        """The grace was over before the response was."""
        self.dropped += 1
        self._drops.add(listener)
        self._log.error("ambassador.request.dropped", listener=listener)

    def access(self, fields: Mapping[str, Any]) -> None:
        """The access log: one line for one request. It is counted already."""
        self._log.info("ambassador.request.done", **fields)

    def stream_ended(self, listener: str, version: str, reason: str) -> None:
        """A TCP connection is over; `version` is empty if none could be reached."""
        self._streams_ended.add(listener, reason)
        self._log.debug("ambassador.stream.ended", listener=listener, version=version, reason=reason)

    # --- policies -------------------------------------------------------------------------------------------------

    def rate_limited(self, listener: str, route: str) -> None:
        """A request came while its limit was used up. Such requests come in floods, so the log is for debugging."""
        self._rate_limited.add(listener, route)
        self._log.debug("ambassador.rate.limited", listener=listener, route=route)

    def rate_key_forgotten(self, listener: str, route: str) -> None:
        """More keys are in use than a limit may remember; the next request of this one finds a full bucket."""
        self._keys_forgotten.add(listener, route)
        self._log.debug("ambassador.rate.key_forgotten", listener=listener, route=route)

    def fault(self, listener: str, route: str, fault: str) -> None:
        """A request is broken on purpose."""
        self._faults.add(listener, route, fault)
        self._log.debug("ambassador.fault.injected", listener=listener, route=route, fault=fault)

    def hook_failed(self, listener: str, route: str, hook: str, error: Exception, where: str) -> None:
        """A function of a user has raised; `where` is the innermost line."""
        self._hook_failures.add(listener, route, hook)
        self._log.error(
            "ambassador.hook.failed",
            listener=listener,
            route=route,
            hook=hook,
            error=f"{type(error).__name__}: {error}",
            where=where,
        )

    def mirrored(self, listener: str, route: str, version: str, outcome: str) -> None:
        """A copy of a request was answered or has failed, or none was made."""
        self._mirrored.add(listener, route, version, outcome)
        self._log.debug("ambassador.mirror.done", listener=listener, route=route, version=version, outcome=outcome)

    # --- upstreams ------------------------------------------------------------------------------------------------

    def upstream_failed(self, version: str, flag: str, detail: str) -> None:
        """An upstream gave no response, a bad one, or only a part of one."""
        self._failures.add(version, flag)
        self._log.warning("ambassador.upstream.failed", version=version, flag=flag, detail=detail)

    def retried(self, version: str, cause: str) -> None:
        """A request goes out again, on a new connection; `cause` is of the kind that a retry policy names."""
        self._retries.add(version, cause)
        self._log.debug("ambassador.request.retried", version=version, cause=cause)

    def retry_refused(self, version: str) -> None:
        """A request could have been sent again, but too many are already."""
        self._retries_refused.add(version)
        self._log.info("ambassador.retry.refused", version=version)

    def connected(self, version: str, address: str) -> None:
        """A connection to an upstream is open."""
        self._connections.add(version)
        self._log.debug("ambassador.upstream.connected", version=version, address=address)

    def connect_failed(self, version: str, address: str, reason: str, in_a_row: int) -> None:
        """An attempt to connect has failed."""
        self._connect_failures.add(version, reason)
        self._log.warning(
            "ambassador.upstream.connect_failed", version=version, address=address, reason=reason, in_a_row=in_a_row
        )

    def address_rests(self, version: str, address: str, reason: str, seconds: float) -> None:
        """An address has failed so often that it is left alone for a while."""
        self._ejections.add(version, reason)
        self._log.warning(
            "ambassador.address.rests", version=version, address=address, reason=reason, seconds=round(seconds, 1)
        )

    def address_back(self, version: str, address: str) -> None:
        """An address that rested answers again."""
        self._returns.add(version)
        self._log.info("ambassador.address.back", version=version, address=address)

    def panic(self, version: str, well: int, total: int, *, on: bool) -> None:
        """So few addresses are well that all are used; or that is over."""
        if on:
            self._panics.add(version)
        log = self._log.warning if on else self._log.info
        log("ambassador.upstream.panics" if on else "ambassador.upstream.calm", version=version, well=well, total=total)

    def pool_gone(self, pool: Pool) -> None:
        """An upstream is no longer in the configuration, or has another one in its place."""
        if self.pools.get(pool.name) is pool:
            del self.pools[pool.name]

    def checked(self, version: str, *, passed: bool) -> None:
        """An address was asked whether it is well; only a change is worth a line in the log."""
        self._checks.add(version, "passed" if passed else "failed")

    def health_changed(self, version: str, address: str, problem: str, *, well: bool) -> None:
        """Health checks have come to another result."""
        if well:
            self._log.info("ambassador.address.healthy", version=version, address=address)
        else:
            self._log.warning("ambassador.address.unhealthy", version=version, address=address, problem=problem)

    def name_changed(self, version: str, name: str, added: Sequence[str], removed: Sequence[str]) -> None:
        """A name leads elsewhere."""
        self._name_changes.add(version, "added", by=len(added))
        self._name_changes.add(version, "removed", by=len(removed))
        self._log.info("ambassador.name.changed", version=version, name=name, added=list(added), removed=list(removed))

    def name_failed(self, version: str, name: str, reason: str, *, first: bool) -> None:
        """A name could not be resolved; said once, counted each time."""
        self._name_failures.add(version)
        log = self._log.warning if first else self._log.debug
        log("ambassador.name.failed", version=version, name=name, reason=reason)

    def name_found(self, version: str, name: str) -> None:
        """A name that could not be resolved can be, again."""
        self._log.info("ambassador.name.found", version=version, name=name)

    def idle_closed(self, version: str, keep: float) -> None:
        """An upstream closes idle connections earlier than they were given up here; from now on we are first."""
        self._log.info("ambassador.upstream.keeps_shorter", version=version, keep_seconds=round(keep, 2))

    # --- access ---------------------------------------------------------------------------------------------------

    def tls_unverified(self, version: str) -> None:
        """An upstream's certificate is not checked: whoever answers is believed."""
        self._log.warning(
            "ambassador.tls.unverified", version=version, advice="verify: false is for trying things out; name tls.ca"
        )

    def certificate_late(self, version: str, file: str, seconds: float) -> None:
        """A certificate of ours is about to end, and nobody has renewed it."""
        self._log.warning("ambassador.tls.certificate_late", version=version, file=file, seconds_left=round(seconds))

    def rotated(self, version: str, what: str) -> None:
        """Files of `what` (tls, credentials) have changed, and are in use from now on."""
        self._rotations.add(version, what, "taken")
        self._log.info("ambassador.rotation.taken", version=version, what=what)

    def rotation_failed(self, version: str, what: str, outcome: str, reason: str) -> None:
        """Files have gone (`missing`), or changed for the worse (`refused`)."""
        self._rotations.add(version, what, outcome)
        self._log.error(
            "ambassador.rotation.failed", version=version, what=what, reason=reason, kept="the last good one"
        )

    def token_taken(self, version: str, seconds: float) -> None:
        """An access token has come, which is good for so many seconds."""
        self._tokens.add(version, "taken")
        self._log.info("ambassador.token.taken", version=version, valid_seconds=round(seconds))

    def token_failed(self, version: str, reason: str, again: float) -> None:
        """No access token could be had; the next try comes in so many seconds."""
        self._tokens.add(version, "failed")
        self._log.warning("ambassador.token.failed", version=version, reason=reason, again_in_seconds=round(again, 1))

    def token_expired(self, version: str) -> None:
        """The access token has ended before there was another one; requests wait for it, or are answered 503."""
        self._tokens.add(version, "expired")
        self._log.error("ambassador.token.expired", version=version)

    def credentials_unprotected(self, version: str, address: str) -> None:
        """Credentials go out in plain text: whoever is on the way can read them, unless a mesh encrypts."""
        self._log.warning(
            "ambassador.credentials.unprotected", version=version, address=address, advice="begin it with https://"
        )

    def credentials_rejected(self, version: str, *, others: bool) -> None:
        """The upstream has answered 401; `others`: there are other credentials now, or will be in a moment."""
        self._credentials.add(version, "yes" if others else "no")
        self._log.warning("ambassador.credentials.rejected", version=version, others=others)

    # --- routing --------------------------------------------------------------------------------------------------

    def weights(self, listener: str, route: str, weights: Mapping[str, int]) -> None:
        """The weights in force."""
        for version, weight in weights.items():
            self._weights.cell(listener, route, version).value = weight

    def weights_changed(self, listener: str, route: str, weights: Mapping[str, int]) -> None:
        """Somebody has changed the weights of a split through the admin endpoint."""
        self.weights(listener, route, weights)
        self._log.info("ambassador.weights.changed", listener=listener, route=route, weights=dict(weights))

    def ramp_moved(self, rollout: Rollout, move: Move) -> None:
        """A ramp has gone up, held, gone back, or ended, or was told to."""
        ramp = rollout.ramp
        listener, route, version = rollout.labels
        self._ramp_moves.add(listener, route, version, move.kind, move.cause)
        log = self._log.warning if move.kind == "back" else self._log.info
        log(
            "ambassador.ramp.moved",
            move=move.kind,
            listener=listener,
            route=route,
            version=version,
            percent=ramp.percent,
            step=f"{ramp.step + 1}/{len(ramp.config.steps)}",
            cause=move.cause,
            reason=move.text,
        )
