"""A whole process: patterns from a configuration, the admin endpoint, signals, reload, closing summary."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from podpatterns.errors import ConfigError, PodpatternsError
from podpatterns.runtime import config as configuration
from podpatterns.runtime.admin import Admin
from podpatterns.runtime.config import ProcessConfig
from podpatterns.runtime.events import RuntimeEvents
from podpatterns.runtime.phases import Phase
from podpatterns.runtime.schema import to_builtins
from podpatterns.runtime.service import Context, Pattern, Reply, Request, Route, Service, Status
from podpatterns.runtime.signals import handled
from podpatterns.runtime.supervisor import Supervisor
from podpatterns.runtime.telemetry import LEVELS, Telemetry, for_process
from podpatterns.runtime.watch import Watch

TERMINATION_MESSAGE = 4096
"""Bytes of a termination message that Kubernetes keeps."""


class Process:
    """Runs a `ProcessConfig` until it is told to stop: `await Process(config).serve()`."""

    def __init__(
        self, config: ProcessConfig, *, files: Sequence[str | Path] = (), telemetry: Telemetry | None = None
    ) -> None:
        self.config = config
        self._files = files
        runtime = config.runtime
        telemetry = telemetry or for_process(runtime.log_level, runtime.log_format)
        self.context = Context(telemetry, grace=float(runtime.grace))
        self.patterns: dict[str, Pattern[Any]] = {
            name: pattern.build(self.context) for name, pattern in config.patterns.items()
        }
        services: list[Service] = []
        self.admin: Admin | None = None
        if config.admin is not None:
            self.admin = Admin(config.admin, self._routes(), lambda: self.events)
            services.append(self.admin)
        services += self.patterns.values()
        if files and runtime.reload:
            services.append(Reloader(self, files, runtime.reload))
        self.supervisor = Supervisor(services, self.context)
        self.events: RuntimeEvents = self.supervisor.events

    async def serve(self) -> None:
        """Run until a signal, a drain request, the end of init steps, or a failure, which is raised."""
        error: BaseException | None = None
        try:
            with handled(self.supervisor.request_drain, _at_once):
                async with self.supervisor:
                    await self.supervisor.finished()
        except (PodpatternsError, OSError) as cause:
            error = cause
            raise
        finally:
            self._write_termination_log(error)

    def status(self) -> dict[str, Any]:
        """What `/status` shows and the termination message holds: facts and checks of every pattern."""
        return {
            "phase": self.supervisor.phase.value,
            "patterns": {name: msgspec.to_builtins(pattern.status()) for name, pattern in self.patterns.items()},
        }

    def _write_termination_log(self, error: BaseException | None) -> None:
        path = os.environ.get("PODPATTERNS_TERMINATION_LOG", self.config.runtime.termination_log)
        head = {"error": str(error)[: TERMINATION_MESSAGE // 2]} if error is not None else {}
        body = msgspec.json.encode({**head, **self.status()})
        if len(body) > TERMINATION_MESSAGE:
            failed = {
                name: msgspec.to_builtins(
                    Status(checks=[check for check in pattern.status().checks if not check.ok][:5])
                )
                for name, pattern in self.patterns.items()
            }
            phase = self.supervisor.phase.value
            body = msgspec.json.encode({**head, "phase": phase, "patterns": failed})[:TERMINATION_MESSAGE]
        try:
            with open(os.open(path, os.O_WRONLY | os.O_TRUNC), "wb") as file:  # noqa: PTH123 - never made, if not there
                file.write(body)
        except (FileNotFoundError, NotADirectoryError):
            return  # nobody asks for it
        except OSError as cause:
            self.events.termination_log_failed(path, cause)

    # --- admin routes ---------------------------------------------------------------------------------------------

    def _routes(self) -> list[Route]:
        own = [
            Route("GET", "/livez", _reading(lambda: Reply({"status": "alive"})), public=True),
            Route("GET", "/readyz", _reading(self._ready), public=True),
            Route("GET", "/startupz", _reading(self._startup), public=True),
            Route("GET", "/metrics", self._metrics, public=True),
            Route("GET", "/status", self._status),
            Route("GET", "/config", _reading(self._config)),
            Route("POST", "/drain", self._drain),
            Route("PUT", "/loglevel", self._loglevel),
        ]
        return own + [route for pattern in self.patterns.values() for route in pattern.routes()]

    def _ready(self) -> Reply:
        held = self.context.readiness.held
        if held:
            return Reply({"status": "not ready", "waiting": held}, status=503)
        return Reply({"status": "ready"})

    def _startup(self) -> Reply:
        phase = self.supervisor.phase
        late = [name for name, pattern in self.patterns.items() if not pattern.started]
        if late and phase is not Phase.STARTING:
            return Reply({"status": phase.value, "waiting": late}, status=503)
        return Reply({"status": phase.value}, status=503 if phase is Phase.STARTING else 200)

    async def _status(self, _request: Request) -> Reply:
        await self._refresh()
        return Reply(self.status())

    async def _refresh(self) -> None:
        for pattern in self.patterns.values():
            await pattern.refresh()

    async def _metrics(self, _request: Request) -> Reply:
        from prometheus_client.exposition import CONTENT_TYPE_LATEST

        await self._refresh()
        return Reply(self.context.telemetry.exposition(), content_type=CONTENT_TYPE_LATEST)

    def _config(self) -> Reply:
        shown = {name: to_builtins(pattern.config) for name, pattern in self.patterns.items()}
        return Reply({**shown, "runtime": to_builtins(self.config.runtime)})

    async def _drain(self, request: Request) -> Reply:
        self.supervisor.request_drain(request.query.get("reason", "POST /drain"))
        if "wait" in request.query:
            await self.supervisor.drained.wait()
            failure = self.supervisor.failure
            if failure is not None:
                return Reply({"status": "not drained", "error": str(failure)}, status=500)
            return Reply({"status": "drained"})
        return Reply({"status": "draining", "grace_seconds": self.context.grace}, status=202)

    async def _loglevel(self, request: Request) -> Reply:
        level = request.body.decode("utf-8", "replace").strip()
        if level not in LEVELS:
            return Reply({"error": f"the body must be one of {', '.join(LEVELS)}"}, status=400)
        self.context.telemetry.gate.level = level
        self.events.level_changed(level)
        return Reply({"level": level})


class Reloader(Service):
    """Looks at the configuration files and puts a valid change in force; keeps the last good one otherwise."""

    name = "reloader"

    def __init__(self, process: Process, files: Sequence[str | Path], period: float) -> None:
        self._process = process
        self._files = files
        self._period = period
        self._watch = Watch(path for path in files if configuration.variable(path) is None)

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            await asyncio.sleep(self._period)
            if self._watch.changed():
                await self.apply()

    async def apply(self) -> None:
        """Read the files and put what has changed in force."""
        process = self._process
        try:
            new = configuration.load(self._files)
        except ConfigError as error:
            process.events.config_refused(error)
            return
        if new == process.config:
            process.events.config_unchanged()
            return
        if new.runtime != process.config.runtime:
            process.events.config_needs_restart("runtime")
        if new.patterns.keys() != process.config.patterns.keys():
            process.events.config_needs_restart("the patterns in the file")
            return
        changed = [name for name, config in new.patterns.items() if config != process.config.patterns[name]]
        in_force, applied = dict(process.config.patterns), list[str]()
        for name in changed:
            try:
                await process.patterns[name].reload(new.patterns[name])
            except (PodpatternsError, OSError) as error:
                process.events.config_not_applied(name, error)
            else:
                in_force[name] = process.patterns[name].config = new.patterns[name]
                applied.append(name)
        process.config = ProcessConfig(in_force, process.config.runtime)
        if applied:
            process.events.config_reloaded(applied)


def _reading(read: Callable[[], Reply]) -> Callable[[Request], Awaitable[Reply]]:
    async def handle(_request: Request) -> Reply:
        return read()

    return handle


def _at_once() -> None:
    sys.stderr.flush()
    os._exit(1)  # the second signal: whoever sends it does not want to wait for anything


def settle() -> None:
    """Prepare the memory of a process that has loaded what it needs, and is about to serve."""
    # glibc gives free memory at the end of its heap back to the system, and gets it again page by page for the next
    # large read, which doubles what that costs. The size of the largest piece that it has seen freed is its measure of
    # what to keep: twice as much, 2 MiB from here on (mallopt(3), M_MMAP_THRESHOLD).
    bytes(1 << 20)
    # What has been made until here stays to the end. Left out of full collections, it takes nobody's time: with it one
    # lasts some 15 ms, in which no request is answered.
    gc.collect()
    gc.freeze()
    # What is left is so little that Python would collect all of it all the time: a batch of lines makes thousands of
    # tuples, which die without the collector's help. Looking after 10,000 instead of 700 saves a sixth of the CPU time.
    gc.set_threshold(10_000, 20, 20)


def run(config: ProcessConfig, files: Sequence[str | Path] = ()) -> None:
    """Run a process to its end on uvloop. Raises PodpatternsError when a part of it failed."""
    import uvloop

    async def serve() -> None:
        process = Process(config, files=files)
        settle()
        await process.serve()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
