"""Lines on standard input."""

from __future__ import annotations

from typing import ClassVar

from podpatterns.adapter.log_stream import CHUNK, LogStream
from podpatterns.adapter.logs import LogConfig, LogContext
from podpatterns.runtime.descriptor import Descriptor


class StdinConfig(LogConfig, frozen=True, kw_only=True):
    """Standard input: `shopd | podpatterns run adapter.yaml`.

    When the writer has closed it and all is written, the adapter ends, unless it has something else to do.
    """

    ALONE: ClassVar[bool] = True
    EXAMPLE: ClassVar[str] = "{type: stdin, format: java, unparsed: join}"

    def build(self, context: LogContext) -> Stdin:
        """The log."""
        return Stdin(self, context)

    @property
    def where(self) -> str:
        """Where it comes from."""
        return "standard input"


class Stdin(LogStream):
    """Reads until the end. While what is written to is full, nothing is read, and the writer waits."""

    ends = True

    def __init__(self, config: StdinConfig, context: LogContext, descriptor: int = 0) -> None:
        super().__init__(config, context)
        self._source = Descriptor(descriptor, self._draining)

    async def run(self) -> None:
        """Read to the end, or until there is a drain and nothing more is there."""
        whole, rest = b"", b""
        while (data := await self._source.read(CHUNK, self.config.hold if whole else None)) != b"":
            if data is not None:
                self.grown()
                data = rest + data
                end = data.rfind(b"\n") + 1
                whole += data[:end]
                # Of a line that goes on and on no more is kept than shows that it is too long.
                rest = data[end:][: self.config.max_line + 2]
            if whole:
                whole = whole[await self.pass_on(whole, final=data is None) :]
        if whole or rest:
            await self.pass_on(whole + rest + (b"\n" if rest else b""), final=True)
        self._drained.set()
