"""The health adapter: many ways of asking whether something is well, one way of telling it: an HTTP endpoint.

Each check runs in a task of its own, at its own pace, and leaves its verdict; whoever asks the endpoint reads verdicts,
and waits for no check.
"""

from __future__ import annotations

import asyncio
import os
import ssl  # which asyncio has imported already
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from podpatterns.adapter.checks import Check, CheckConfig, CheckContext, Failed
from podpatterns.adapter.health_events import HealthEvents
from podpatterns.adapter.naming import check_names, named
from podpatterns.adapter.verdict import Overall, State, Verdict, overall
from podpatterns.formats.timestamps import rfc3339
from podpatterns.runtime.http_server import HttpReply, HttpRequest, HttpServer, url
from podpatterns.runtime.listening import listening
from podpatterns.runtime.schema import Config
from podpatterns.runtime.service import Deadline
from podpatterns.runtime.units import Address, Duration

REASON = 200
"""Characters of a reason; whoever has more to say says it in its own log."""


class HealthConfig(Config, frozen=True, kw_only=True):
    """One HTTP endpoint that says whether the application is well, out of checks of any kind.

    It answers 200 or 503, with a JSON object that has every check: its status, since when, how long it took, and why
    it fails.
    """

    listen: Address = Address(":9805")
    """Where the endpoint is: all interfaces by default, because the kubelet asks at the pod's address. Since all
    containers of a pod share that, a probe of *any* of them can ask here."""

    path: Annotated[
        str,
        msgspec.Meta(pattern="^/[!-~]*[!-.0-~]$", extra={"is": "a path that begins with / and does not end with one"}),
    ] = "/health"
    """The path for all checks; below it each check has one of its own, such as `/health/redis`."""

    match: Literal["all", "any"] = "all"
    """Whether every critical check has to pass, or any one of them will do."""

    startup: Duration = Duration("30s")
    """How long a check that has never passed counts as `starting`, and not as failing. The endpoint answers 503 in that
    time as well, as a startup or readiness probe wants it; but nothing is logged or counted as a failure."""

    checks: Annotated[list[CheckConfig], msgspec.Meta(min_length=1)]
    """What is asked."""

    def __post_init__(self) -> None:
        check_names("checks", self.checks)

    def explain(self) -> Iterator[str]:
        """What would be asked, and how often."""
        yield f"health at {self.listen}{self.path}: {self.match} of the critical checks must pass"
        for name, each in named(self.checks):
            yield f"check {name}: {each.asks()}"
            yield f"    every {each.interval}, for at most {each.timeout}"
            then = "the endpoint answers 503" if each.critical else "the endpoint says degraded, with 200"
            yield f"    {_times(each.failures, 'failure')} in a row count, then {then}"


@dataclass(slots=True)
class Watched:
    """A check, and what has come of it. `checked` and `took` in seconds, of the last time."""

    name: str
    config: CheckConfig
    check: Check
    verdict: Verdict
    checked: float | None = None
    took: float = 0.0
    reason: str = ""


class Health:
    """Runs the checks, and serves what came of them."""

    def __init__(self, config: HealthConfig, context: CheckContext, events: HealthEvents) -> None:
        self.config, self.name = config, f"health endpoint on {config.listen}"
        self.url = ""
        """Where it is; known after the start where the port is 0."""
        self._events = events
        now = time.monotonic()
        self.checks = {
            name: Watched(
                name, each, each.build(context), Verdict(each.failures, each.successes, now, now + config.startup)
            )
            for name, each in named(config.checks)
        }
        self._server = HttpServer(self._answer)

    async def start(self) -> None:
        """Listen. Raises StartError when the address is taken."""
        listen = self.config.listen
        with listening("the health endpoint", listen, "set adapter.health.listen to a free address"):
            port = await self._server.start(listen)
        self.url = url(listen, port, self.config.path)
        self._events.listening(self.url, len(self.checks))

    async def run(self) -> None:
        """Check for ever."""
        async with asyncio.TaskGroup() as tasks:
            for each in self.checks.values():
                tasks.create_task(self._watch(each), name=f"check {each.name}")

    async def drain(self, deadline: Deadline) -> None:
        """Goes on: while the pod ends, whoever asks is still told the truth."""

    async def stop(self) -> None:
        """Close the endpoint."""
        await self._server.close()
        self._events.forgotten(self.checks)

    # --- checking -------------------------------------------------------------------------------------------------

    async def _watch(self, each: Watched) -> None:
        while True:
            began = time.monotonic()
            await self.look(each)
            await asyncio.sleep(max(0.0, each.config.interval - (time.monotonic() - began)))

    async def look(self, each: Watched) -> None:
        """Check once."""
        began = time.monotonic()
        reason = await self._reason(each)
        now = time.monotonic()
        before, held = each.verdict.state, now - each.verdict.since
        each.checked, each.took, each.reason = now, now - began, " ".join(reason.split())[:REASON]
        changed = each.verdict.judge(passed=not reason, now=now)
        self._events.checked(each.name, each.took, passed=not reason, state=each.verdict.state)
        if changed:
            self._events.changed(
                each.name, before, each.verdict.state, held, each.reason, critical=each.config.critical
            )

    async def _reason(self, each: Watched) -> str:
        """Why it is not well; empty if it is."""
        try:
            async with asyncio.timeout(each.config.timeout):
                await each.check.probe()
        except TimeoutError:
            return f"no answer within {each.config.timeout}"
        except Failed as error:
            return str(error) or "failed"
        except (OSError, EOFError) as error:
            return _said(error)
        except Exception as error:  # noqa: BLE001 - a check may come from somebody else; it must not take the others with it
            self._events.broken(each.name, error)
            return f"the check itself is broken: {type(error).__name__}"
        return ""

    # --- telling --------------------------------------------------------------------------------------------------

    @property
    def overall(self) -> Overall:
        """What all checks come to."""
        return overall(((each.verdict.state, each.config.critical) for each in self.checks.values()), self.config.match)

    def shown(self, each: Watched) -> dict[str, Any]:
        """One check, for the answer."""
        now, wall = time.monotonic(), time.time()
        state = each.verdict.state
        found: dict[str, Any] = {
            "status": state.value,
            "critical": each.config.critical,
            "since": _written(wall - (now - each.verdict.since)),
        }
        if each.checked is not None:
            found["checked"] = _written(wall - (now - each.checked))
            found["duration_seconds"] = round(each.took, 6)
        if each.reason:
            found["reason"] = each.reason
        return found

    async def _answer(self, request: HttpRequest) -> HttpReply:
        path = self.config.path
        if request.method not in ("GET", "HEAD"):
            return _json(405, {"error": f"{path} takes GET"}, ("Allow", "GET, HEAD"))
        if request.path == path:
            verdict = self.overall
            checks = {name: self.shown(each) for name, each in self.checks.items()}
            return _json(200 if verdict.well else 503, {"status": verdict.status, "checks": checks})
        each = self.checks.get(request.path.removeprefix(f"{path}/"))
        if each is None or request.path == each.name:
            return _json(404, {"error": "there are " + ", ".join([path, *(f"{path}/{name}" for name in self.checks)])})
        return _json(200 if each.verdict.state is State.PASSING else 503, self.shown(each))


def _json(status: int, data: Any, *fields: tuple[str, str]) -> HttpReply:
    return HttpReply(
        status, msgspec.json.encode(data) + b"\n", "application/json", (("Cache-Control", "no-store"), *fields)
    )


def _written(seconds: float) -> str:
    return f"{rfc3339(round(seconds * 1000) * 10**6)[:23]}Z"


def _said(error: Exception) -> str:
    """The system's own words, which asyncio covers with the address."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number).lower()
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


def _times(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
