"""Upstreams, their addresses, and the connections to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from podpatterns.runtime.telemetry import Telemetry

if TYPE_CHECKING:
    from podpatterns.ambassador.endpoints.pool import Pool


class UpstreamEvents:
    """What happens to upstreams: connections, rests, checks, names."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._log = telemetry.log
        self._failures = telemetry.counter(
            "podpatterns_ambassador_upstream_failures",
            "Exchanges that an upstream has failed, by the response flag.",
            ["version", "flag"],
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

    @property
    def failures(self) -> int:
        """Exchanges that upstreams have failed."""
        return int(self._failures.total)

    @property
    def retries(self) -> int:
        """Requests that were sent again."""
        return int(self._retries.total)

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
