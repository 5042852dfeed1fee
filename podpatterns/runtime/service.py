"""The contract between a pattern and the process it runs in.

A `Service` is started, run, drained and stopped by the supervisor; a `Pattern` is a service that can also stand alone:
`async with Ambassador(config) as proxy:` runs it in an application or a test.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

from podpatterns.errors import StartError
from podpatterns.runtime.config import PATTERNS, PatternConfig
from podpatterns.runtime.decode import validated
from podpatterns.runtime.readiness import Readiness
from podpatterns.runtime.telemetry import Telemetry

P = TypeVar("P", bound=PatternConfig)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time on a clock, shared by everything that has to be done by then."""

    at: float
    clock: Callable[[], float]

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - self.clock())


@dataclass(frozen=True, slots=True)
class Context:
    """What a process gives to the patterns in it."""

    telemetry: Telemetry = field(default_factory=Telemetry)
    readiness: Readiness = field(default_factory=Readiness)
    grace: float = 25.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request to an admin route: the query's last value by name, and the body."""

    query: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """An admin route's answer: `data` is sent as JSON unless it is bytes."""

    data: Any
    status: int = 200
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Route:
    """One admin route of a service.

    `public` ones are read-only and reachable from outside the pod; all others are for loopback alone, so that nobody
    else on the network can read or change a pod's state.
    """

    method: Literal["GET", "POST", "PUT"]
    path: str
    handle: Callable[[Request], Awaitable[Reply]]
    public: bool = False

    def __post_init__(self) -> None:
        if self.public and self.method != "GET":
            raise ValueError(f"{self.method} {self.path}: only reading can be public")


@dataclass(frozen=True, slots=True)
class Check:
    """One promise and whether it was kept: `log lines read = acknowledged`."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """How a service is doing, for `/status`, the closing summary and the termination message.

    `facts` are for people, in the order in which they are shown; `checks` decide whether a demo or a test has
    succeeded: they say what must hold once the service has drained.
    """

    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    checks: Sequence[Check] = ()


class Service:
    """One part of a process. Override what it needs; every method is called once, in this order, by the supervisor.

    A service owns its tasks: they live in a TaskGroup inside `run`, so that none is forgotten.
    """

    name: str = "service"
    endless: bool = True
    """False for a service that is done when `run` returns, such as init steps; for others that is an error."""
    started: bool = True
    """False while what others wait for at its beginning is still to come, although it runs: `/startupz` fails."""

    async def start(self) -> None:
        """Acquire what is needed; return when ready to serve. Raises StartError."""

    async def run(self) -> None:
        """Work until cancelled (or, when not `endless`, until done)."""
        import asyncio

        await asyncio.Event().wait()

    async def drain(self, deadline: Deadline) -> None:
        """Take nothing new and finish what was taken, while `run` goes on. Cancelled at the deadline."""

    async def stop(self) -> None:
        """Release everything; called after `run` has been cancelled, also when `start` failed half-way."""

    async def reload(self, config: Any) -> None:  # noqa: ARG002 - for those that can
        """Apply a changed configuration (valid, of the service's own class), atomically.

        Raises:
            StartError: it cannot be applied; the service goes on with the one it has.
        """
        raise StartError(f"{self.name} takes up a change only when it is started anew")

    def routes(self) -> Sequence[Route]:
        """Admin routes of its own."""
        return ()

    async def refresh(self) -> None:
        """Bring metrics and status up to date, if that takes asking somebody; called before they are shown."""

    def status(self) -> Status:
        """How it is doing."""
        return Status()


class Pattern(Service, Generic[P]):
    """A service with a configuration, which can be used alone.

    Examples:
        async with Ambassador(AmbassadorConfig(...)) as proxy:
            ...

    Leaving the block drains within `context.grace`. If the runtime fails, the block is cancelled and the failure is
    raised from it.
    """

    def __init__(self, config: P, context: Context | None = None) -> None:
        self._expect(config)
        # What comes from a file has been validated; what an application built has not.
        self.config: P = config if context is not None else validated(config)
        self.context = context or Context()
        self.name = type(self).__name__.lower()

    def _expect(self, config: object) -> None:
        name = type(self).__name__
        wanted = f"{name}Config"
        if isinstance(config, PatternConfig) and (type(config).__name__ == wanted or name.lower() not in PATTERNS):
            return
        found = type(config).__name__
        raise TypeError(f"{name} takes {wanted}, not {found}; {wanted}.parse(...) makes one of YAML text or a mapping")

    async def __aenter__(self) -> Self:
        from podpatterns.runtime.supervisor import Supervisor

        self._supervisor = Supervisor([self], self.context)
        await self._supervisor.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._supervisor.__aexit__(kind, error, trace)
