"""`type: wait`: go on when what the primary container depends on is there."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec

from podpatterns.init.steps import Fatal, Step, StepConfig, StepContext, Transient
from podpatterns.runtime import http_get
from podpatterns.runtime.backoff import Backoff
from podpatterns.runtime.command import NotRunnable, TimedOut, execute
from podpatterns.runtime.schema import Config, InvalidField, Items
from podpatterns.runtime.units import Address, Duration, Url

_STATUS = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")
KINDS = ("tcp", "http", "dns", "file", "command")


class ConditionConfig(Config, frozen=True, kw_only=True):
    """One thing to wait for: exactly one of tcp, http, dns, file and command."""

    tcp: Address | None = None
    """Something accepts connections at `host:port` or at the socket `unix:/path`."""

    http: Url | None = None
    """A GET is answered with one of the statuses in `status`. Redirects are not followed; certificates are checked."""

    status: Annotated[str, msgspec.Meta(pattern=r"^[1-5][0-9]{2}(-[1-5][0-9]{2})?$")] = "200-399"
    """For `http`: the status, or the first and the last of a range. The default is what passes Kubernetes' probes."""

    dns: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """The name has an address."""

    file: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """Something exists at this path."""

    command: Items[str] | None = None
    """A program, with its arguments, ends with exit code 0. It is not run in a shell."""

    def __post_init__(self) -> None:
        """One kind, no more."""
        named = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(named) != 1:
            found = f"not {' and '.join(named)} together" if named else "none is named"
            raise ValueError(f"name exactly one of {', '.join(KINDS)}; {found}")
        if self.command is not None and not self.command:
            raise InvalidField("command", "name a program")
        if self.tcp is not None and self.tcp.path is None and not (self.tcp.host and self.tcp.port):
            raise InvalidField("tcp", f'"{self.tcp}" names no host and port to connect to, such as "db:5432"')

    @property
    def title(self) -> str:
        """What is waited for, for people; arguments of a command may hold secrets and are not shown."""
        if self.http is not None:
            return f"http {self.http.redacted}"
        if self.command is not None:
            return f"command {self.command[0]}"
        return next(f"{kind} {getattr(self, kind)}" for kind in KINDS if getattr(self, kind) is not None)

    def accepts(self, status: int) -> bool:
        """Whether an answer with this status will do."""
        match = _STATUS.fullmatch(self.status)
        assert match is not None
        return int(match[1]) <= status <= int(match[2] or match[1])


class WaitConfig(StepConfig, frozen=True, kw_only=True):
    """Wait until dependencies are there: ports, HTTP answers, names, files or commands."""

    EXAMPLE: ClassVar[str] = """
type: wait
until:
  - tcp: db:5432
  - http: http://api:8080/healthz
"""

    until: Items[ConditionConfig]
    """What to wait for; at least one. All are looked at in parallel, each time anew."""

    match: Literal["all", "any"] = "all"
    """Whether all must hold at the same look, or any one will do."""

    interval: Duration = Duration("2s")
    """The longest pause between two looks. They begin a tenth of a second apart and double, with jitter, so that many
    pods that start together do not ask together."""

    timeout: Duration = Duration("3s")
    """How long one look may take before it counts as a no; a connection that is silently dropped hangs otherwise."""

    def __post_init__(self) -> None:
        """At least one condition."""
        super().__post_init__()
        if not self.until:
            raise InvalidField("until", "name at least one condition")
        for field in ("interval", "timeout"):
            if not getattr(self, field):
                raise InvalidField(field, 'must be longer than "0s"')

    def build(self, context: StepContext) -> Wait:
        """The step at work."""
        return Wait(self, context)

    def explain(self) -> list[str]:
        """What is waited for."""
        joint = " and " if self.match == "all" else " or "
        return [f"wait until there is {joint.join(item.title for item in self.until)}, looking every {self.interval}"]


class Wait(Step):
    """The step at work."""

    def __init__(self, config: WaitConfig, context: StepContext) -> None:
        self.config, self._context = config, context
        self.backoff = Backoff(first=min(0.1, config.interval), cap=config.interval)
        self._missing: list[str] = []

    async def done(self) -> bool:
        """Look at every condition once."""
        try:
            async with asyncio.TaskGroup() as looks:
                tasks = [looks.create_task(self._look(condition)) for condition in self.config.until]
        except ExceptionGroup as group:
            fatal = group.subgroup(Fatal)
            if fatal is None:
                raise
            raise fatal.exceptions[0] from None
        self._missing = [
            f"{condition.title} ({task.result()})"
            for condition, task in zip(self.config.until, tasks, strict=True)
            if task.result() is not None
        ]
        if self.config.match == "any":
            return len(self._missing) < len(tasks)
        return not self._missing

    async def apply(self) -> str:
        """Nothing can be done but to look again."""
        joint = ", " if self.config.match == "all" else " or "
        raise Transient(f"still waiting for {joint.join(self._missing)}")

    async def _look(self, condition: ConditionConfig) -> str | None:
        """Why the condition does not hold; None if it does."""
        try:
            async with asyncio.timeout(self.config.timeout):
                return await look(condition)
        except TimeoutError:
            return f"no answer within {self.config.timeout}"
        except OSError as error:
            return _said(error)


async def look(condition: ConditionConfig) -> str | None:
    """Why the condition does not hold now; None if it does. Raises OSError for what the network says.

    Raises:
        Fatal: a command cannot be run at all.
    """
    if condition.tcp is not None:
        await _tcp(condition.tcp)
        return None
    if condition.http is not None:
        return await _http(condition, condition.http)
    if condition.dns is not None:
        await asyncio.get_running_loop().getaddrinfo(condition.dns, None, type=socket.SOCK_STREAM)
        return None
    if condition.file is not None:
        return None if await asyncio.to_thread(Path(condition.file).exists) else "not there"
    assert condition.command is not None
    try:
        outcome = await execute(condition.command)
    except NotRunnable as error:
        raise Fatal(str(error), "name a program that the image holds") from None
    except TimedOut as error:
        return str(error)
    return f"{outcome.ending}" if outcome.code else None


async def _tcp(address: Address) -> None:
    if address.path is not None:
        _, writer = await asyncio.open_unix_connection(address.path)
    else:
        _, writer = await asyncio.open_connection(address.host, address.port)
    writer.close()


async def _http(condition: ConditionConfig, url: Url) -> str | None:
    """One GET, of which the status line is all that matters."""
    try:
        status, _ = await http_get.get_url(url)
    except http_get.BadAnswer as error:
        return str(error)
    return None if condition.accepts(status) else f"status {status}"


def _said(error: OSError) -> str:
    """The reason without the address, which the title holds already."""
    if isinstance(error, socket.gaierror):
        return "the name has no address"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return error.strerror or str(error) or type(error).__name__
