"""The sidecar at run time: inputs, pipeline, outputs and checkpoint, put together."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from podpatterns.errors import StartError
from podpatterns.runtime.backoff import Backoff
from podpatterns.runtime.cgroup import memory_limit
from podpatterns.runtime.schema import ComponentConfig, component_type
from podpatterns.runtime.service import Check, Context, Deadline, Pattern, Reply, Request, Route, Status
from podpatterns.sidecar.budget import divided
from podpatterns.sidecar.checkpoint import Checkpoint, Document
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.dead_letters import DeadLetters
from podpatterns.sidecar.events import SidecarEvents
from podpatterns.sidecar.inputs import Input, InputContext
from podpatterns.sidecar.ledger import Account, shown, total
from podpatterns.sidecar.outputs import Output, OutputConfig
from podpatterns.sidecar.pipeline import Pipeline

LOOK = 0.2
"""Seconds between two looks for the file that says that the application has ended."""
LIVE = ("transforms", "fields", "batch", "linger", "memory", "max_lag")
"""What a reload can change; the rest needs a new process, which loses nothing either."""


class Sidecar(Pattern[SidecarConfig]):
    """Ships logs: `async with Sidecar(config) as sidecar: ...`; leaving the block ships what is left."""

    def __init__(self, config: SidecarConfig, context: Context | None = None) -> None:
        super().__init__(config, context)
        config = self.config
        self._closed = Account()
        self.events = SidecarEvents(self.context.telemetry, self._total, lambda: self.pipeline.in_flight, self._behind)
        self.budget = divided(None, 0, batch=config.batch, flight=config.memory)
        """How much is read, gathered and under way at a time."""
        self._used = 0
        self.checkpoint = Checkpoint(config.checkpoint, self._document, self.events)
        self._letters = DeadLetters(
            config.dead_letters_path,
            self.events,
            Backoff(cap=config.retry_cap),
        )
        self.pipeline = Pipeline(
            transforms=[each.build() for each in config.transforms],
            fields=config.fields,
            size=config.batch,
            linger=config.linger,
            memory=config.memory,
            max_lag=config.max_lag,
            letters=self._letters,
            events=self.events,
            backoff=Backoff(cap=config.retry_cap),
            longest=config.retry_after_cap,
            settled=self._settled,
        )
        keys = output_keys(config.outputs)
        self.inputs: dict[str, Input] = {
            name: each.build(
                InputContext(
                    name,
                    self.events,
                    self.checkpoint.save,
                    self.checkpoint.touch,
                    self._closed.add,
                    self.checkpoint.path.parent,
                    lambda: (self.budget.chunk, self.budget.lines),
                    lambda: self.budget.reading,
                    lambda: self.pipeline.linger,
                    keys,
                    self.pipeline.held,
                )
            )
            for name, each in named(config.inputs)
        }
        self.outputs: dict[str, Output] = {name: each.build() for name, each in named(config.outputs)}
        for (name, output), key in zip(self.outputs.items(), keys, strict=True):
            self.pipeline.add(name, output, key)
        self._progress = asyncio.Event()
        self._started = False
        self._inputs_end = all(each.ends for each in self.inputs.values())
        self.endless = not self._inputs_end and config.done_file is None

    # --- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the checkpoint, the outputs and the inputs. Raises StartError."""
        document = self.checkpoint.open()
        self._closed.add(msgspec.convert(document.closed, Account))
        for output in self.outputs.values():
            await output.start()
        for name, each in self.inputs.items():
            await each.start(document.inputs.get(name))
        self._used = _resident()
        self._divide(self.config)
        self._started = True

    def _divide(self, config: SidecarConfig) -> None:
        """Fit the sizes of a configuration under the container's memory limit."""
        limit = memory_limit()
        self.budget = budget = divided(
            limit,
            self._used,
            batch=config.batch,
            flight=config.memory,
            inputs=len(self.inputs),
            outputs=len(self.outputs),
        )
        self.pipeline.memory = budget.flight
        self.pipeline.size, self.pipeline.records = budget.batch, budget.records
        if limit is not None:
            self.events.memory_divided(limit, self._used, budget)

    async def run(self) -> None:
        """Everything at once, until cancelled; or until all inputs have ended, and what they had is delivered."""
        async with asyncio.TaskGroup() as tasks:
            going = [tasks.create_task(self.checkpoint.run(), name="checkpoint")]
            going += [tasks.create_task(sender.run(), name=f"output {sender.name}") for sender in self.pipeline.senders]
            await self._read_all()
            await self.pipeline.drained()
            await self.checkpoint.save()
            for task in going:
                task.cancel()

    async def _read_all(self) -> None:
        """Run the inputs until all have ended, or the application has said that it has."""
        async with asyncio.TaskGroup() as tasks:
            inputs = [tasks.create_task(self._read(each), name=f"input {name}") for name, each in self.inputs.items()]
            if self.config.done_file is not None:
                await self._application_done(self.config.done_file, inputs)
                async with asyncio.TaskGroup() as drains:
                    for each in self.inputs.values():
                        drains.create_task(each.drain())
                for task in inputs:
                    task.cancel()

    async def _read(self, each: Input) -> None:
        await each.run(partial(self.pipeline.emit, each))
        if not self._inputs_end:
            await asyncio.Event().wait()  # others go on

    async def _application_done(self, path: str, inputs: Sequence[asyncio.Task[None]]) -> None:
        """Return when the file is there, or every input has ended by itself."""
        while not os.path.exists(path):  # noqa: ASYNC240, PTH110 - one `stat`, of a file that another container makes
            if all(task.done() for task in inputs):
                return
            await asyncio.sleep(LOOK)
        self.events.application_done(path)

    async def drain(self, deadline: Deadline) -> None:  # noqa: ARG002 - the supervisor cancels at the deadline
        """Read to the end of everything, deliver it, and write the checkpoint."""
        async with asyncio.TaskGroup() as tasks:
            for each in self.inputs.values():
                tasks.create_task(each.drain())
        await self.pipeline.drained()
        await self.checkpoint.save()

    async def stop(self) -> None:
        """Write down what has been acknowledged, and close everything: inputs, outputs, checkpoint, in this order."""
        async with AsyncExitStack() as stack:  # one that cannot be closed leaves none of the others open
            stack.callback(self.checkpoint.close)
            for output in self.outputs.values():
                stack.push_async_callback(output.stop)
            for each in self.inputs.values():
                stack.push_async_callback(each.stop)
            if self._started:  # else the inputs do not know yet what the checkpoint says
                await self.checkpoint.try_save()

    async def reload(self, config: SidecarConfig) -> None:
        """Put changed transforms, fields and sizes in force. Raises StartError for anything else that has changed."""
        fixed = [name for name in config.__struct_fields__ if name not in LIVE]
        changed = [name for name in fixed if getattr(config, name) != getattr(self.config, name)]
        if changed:
            raise StartError(f"a change of {', '.join(changed)} needs a restart of the sidecar; nothing is lost by it")
        self.pipeline.transforms = [each.build() for each in config.transforms]
        self.pipeline.fields = config.fields
        self.pipeline.linger, self.pipeline.max_lag = config.linger, config.max_lag
        self._divide(config)
        self.pipeline.resized()

    # --- accounts -------------------------------------------------------------------------------------------------

    def _accounts(self) -> Iterator[tuple[str, str, Account, Mapping[str, Any]]]:
        for name, each in self.inputs.items():
            for source, account, more in each.accounts():
                yield name, source, account, more

    def _total(self) -> Account:
        return total([self._closed, *(account for _, _, account, _ in self._accounts())])

    @property
    def ledger(self) -> Account:
        """What became of every line, in sum."""
        return self._total()

    async def acknowledged(self, lines: int) -> None:
        """Return when at least so many lines have been acknowledged, for tests and applications."""
        while self._total().acknowledged < lines:
            self._progress.clear()
            await self._progress.wait()

    def _settled(self) -> None:
        self.checkpoint.touch()
        self._progress.set()

    def _document(self) -> Document:
        inputs = {name: each.snapshot() for name, each in self.inputs.items()}
        return Document(inputs=inputs, closed=msgspec.to_builtins(self._closed))

    def routes(self) -> Sequence[Route]:
        """`GET /ledger`, and `GET /tail` for `podpatterns logs tail`."""
        return [Route("GET", "/ledger", self._ledger), Route("GET", "/tail", self._tail)]

    async def _tail(self, request: Request) -> Reply:
        after = request.query.get("after", "")
        seen = self.pipeline.live.ask(
            int(after) if re.fullmatch(r"\d{1,18}", after, re.ASCII) else None, time.monotonic()
        )
        head = msgspec.json.encode({"next": seen.next, "missed": seen.missed})
        return Reply(head + b"\n" + seen.ndjson, content_type="application/x-ndjson")

    async def _ledger(self, _request: Request) -> Reply:
        sources = [
            {"input": name, "source": source, **shown(account), **more}
            for name, source, account, more in self._accounts()
        ]
        outputs = [
            {"output": sender.name, "behind_bytes": self.pipeline.lag(sender), "waiting": sender.trouble}
            for sender in self.pipeline.senders
        ]
        total = shown(self._total())
        return Reply({"total": total, "closed": shown(self._closed), "sources": sources, "outputs": outputs})

    def _behind(self) -> dict[str, int]:
        return {sender.name: self.pipeline.lag(sender) for sender in self.pipeline.senders}

    def status(self) -> Status:
        """Lines by what became of them, and whether the books balance."""
        account = self._total()
        facts: dict[str, str | int | float] = {
            "lines read": account.read,
            "acknowledged": account.acknowledged,
            "dead letters": account.dead,
            "lost": f"{account.lost_bytes} bytes" if account.lost_bytes else 0,
            "files": sum(1 for _ in self._accounts()),
        }
        if account.filtered:
            facts["filtered"] = account.filtered
        if account.refused:
            facts["refused"] = account.refused
        if account.gone:
            facts["gone"] = account.gone
        if trouble := "; ".join(self._troubles()):
            facts["waiting"] = trouble
        detail = f"{account.read} = {account.acknowledged} + {account.dead} dead + {account.filtered} filtered"
        if account.refused:
            detail += f" + {account.refused} refused"
        if account.gone:
            detail += f" + {account.gone} gone"
        lost = ", ".join(f"{size} bytes {reason}" for reason, size in account.lost.items())
        checks = [
            Check("lines read = acknowledged", account.balanced, detail),
            Check("lines lost = 0", not (account.lost_bytes or account.refused or account.gone), lost),
            *(check for each in self.inputs.values() for check in each.checks()),
        ]
        return Status(facts, checks)

    def _troubles(self) -> Iterator[str]:
        for sender in self.pipeline.senders:
            if sender.trouble:
                behind = f" ({self.pipeline.lag(sender)} bytes behind)" if len(self.outputs) > 1 else ""
                yield f"{sender.name}: {sender.trouble}{behind}"
        if self.checkpoint.trouble:
            yield f"checkpoint: {self.checkpoint.trouble}"
        if self._letters.trouble:
            yield f"dead letters: {self._letters.trouble}"


def output_keys(configs: Sequence[OutputConfig]) -> tuple[str, ...]:
    """What the position of each output is kept under in the checkpoint."""
    keys: list[str] = []
    for config in configs:
        key = config.destination()
        while key in keys:
            key += "'"
        keys.append(key)
    return tuple(keys)


def _resident() -> int:
    """Bytes of memory that this process takes now; none where that cannot be told."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def named(configs: Iterable[ComponentConfig]) -> Iterator[tuple[str, Any]]:
    """Components with a name each: the type, with a number from the second of a type on."""
    seen: Counter[str] = Counter()
    for config in configs:
        name = component_type(type(config))
        seen[name] += 1
        yield (name if seen[name] == 1 else f"{name}-{seen[name]}"), config
