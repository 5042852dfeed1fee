"""Lines on standard input."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from podpatterns.runtime.descriptor import Descriptor
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Duration, Size
from podpatterns.sidecar.inputs import Emit, InputConfig, InputContext
from podpatterns.sidecar.pushed import PushedInput

CHUNK = 256 * 1024


class StdinConfig(InputConfig, frozen=True, kw_only=True):
    """Reads standard input: `application | podpatterns run ship.yaml`.

    When the writer has closed it and every output has the last line, the sidecar ends, unless it has other inputs.
    A pipe keeps nothing: what was read and not yet delivered when the process is killed is lost. While the outputs are
    away the pipe fills, and the writer waits.
    """

    EXAMPLE: ClassVar[str] = "{type: stdin}"

    max_line: Size = Size("256KiB")
    """Bytes of a line that are kept; a longer line is cut, marked and counted."""

    hold: Duration = Duration("1s")
    """How long lines are kept back of which more may come, such as a stack trace that is being written. Only with
    `multiline`, `format: cri` or `docker`."""

    def __post_init__(self) -> None:
        """Check what a type cannot say."""
        if not self.max_line:
            raise InvalidField("max_line", "a line needs at least one byte")

    def build(self, context: InputContext) -> Stdin:
        """The input."""
        return Stdin(self, context)


class Stdin(PushedInput):
    """Reads a descriptor until its end."""

    ends = True

    def __init__(self, config: StdinConfig, context: InputContext, descriptor: int = 0) -> None:
        super().__init__(context, where="stdin", limit=config.max_line, fields={})
        self._source = Descriptor(descriptor, self.draining)
        self._rest = b""
        self._hold = config.hold
        self._done = asyncio.Event()

    async def run(self, emit: Emit) -> None:
        """Emit lines until the end, or until `drain` was called and nothing more is there at the moment."""
        self._emit = emit
        kept = b""
        while (data := await self._source.read(CHUNK, self._hold if kept else None)) != b"":
            if data is None:  # nothing more came for a while
                ready = len(kept)
            else:
                data = self._rest + data
                end = data.rfind(b"\n") + 1
                # Of a line that goes on and on no more is kept than shows that it is too long.
                self._rest = data[end:][: self._limit + 2]
                kept += data[:end]
                ready = self._whole(kept)
            if ready:
                await self.pass_on_text(kept[: ready - 1])
                kept = kept[ready:]
        if rest := kept + self._rest:
            await self.pass_on_text(rest.removesuffix(b"\n"))
        self._done.set()

    def _whole(self, lines: bytes) -> int:
        """The bytes of the lines that need not wait for others."""
        end = len(lines) - 1
        if 0 <= end < CHUNK:
            for _ in range(self._context.held(lines, 0, end)):
                end = lines.rfind(b"\n", 0, end)
        return end + 1

    async def drain(self) -> None:
        """Read what is there."""
        self.draining.set()
        await self._done.wait()
