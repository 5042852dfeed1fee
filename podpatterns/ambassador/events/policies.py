"""What policies do with requests."""

from __future__ import annotations

from podpatterns.runtime.telemetry import Telemetry


class PolicyEvents:
    """What policies do beside passing a request on."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._log = telemetry.log
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
