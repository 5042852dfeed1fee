"""`type: fetch`: a file or an archive from an HTTP server, checked before anybody sees it.

What is loaded goes into a file beside the target, and goes on where it ended when a connection breaks. Published is
by rename: a file over the target, an archive as a symlink to a folder that is named after the archive's SHA-256.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec

from podpatterns.init import publish
from podpatterns.init.steps import Fatal, Step, StepConfig, StepContext, Transient
from podpatterns.init.unpack import Stopped, UnsafeArchive, discard, unpack
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Duration, SecretFile, Size, Url

_PASSING = frozenset({408, 425, 429})
"""4xx statuses that may pass; of the others only a person can change something."""


class FetchConfig(StepConfig, frozen=True, kw_only=True):
    """Load a file or an archive over HTTP, check its SHA-256, and publish it in one step."""

    WRITES: ClassVar[frozenset[str]] = frozenset({"target"})
    EXAMPLE: ClassVar[str] = """
type: fetch
url: https://downloads.example.org/models-1.2.tar.gz
sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
target: /models/current
unpack: tar
"""

    url: Url
    """Where to load from. Certificates are checked."""

    target: Annotated[str, msgspec.Meta(pattern="^/.*[^/]$")]
    """The file to publish or, with `unpack`, the symlink that leads to the unpacked folder. An absolute path."""

    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] | None = None
    """What the content must hash to, in hex. With it, what is published already is not loaded again. None: the content
    is not checked, and loaded anew at each start."""

    unpack: Literal["tar", "zip"] | None = None
    """What kind of archive it is; a tar may be compressed with gzip, bzip2 or xz. None: none, just a file."""

    strip: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How many leading folders to leave out of the names in an archive; many hold everything in a single one."""

    token: SecretFile | None = None
    """A file with a bearer token, read anew for each try, for the URL's own host only. None: no credentials."""

    mode: Annotated[str, msgspec.Meta(pattern="^0?[0-7]{3}$")] = "0644"
    """The permission bits of a published file, in octal. What is unpacked gets 0644, or 0755 if it is executable."""

    max_size: Size = Size("1GiB")
    """How much may be loaded, and how much an archive may unpack to; more is an error, so that no volume is filled."""

    timeout: Duration = Duration("30s")
    """How long the server may be silent before the connection counts as broken, and is tried again."""

    def __post_init__(self) -> None:
        """Check what concerns several fields at once."""
        super().__post_init__()
        if self.strip and self.unpack is None:
            raise InvalidField("strip", "is for archives; name the kind in `unpack`")
        if not self.timeout:
            raise InvalidField("timeout", 'must be longer than "0s"')

    def build(self, context: StepContext) -> Fetch:
        """The step at work."""
        return Fetch(self, context)

    def explain(self) -> list[str]:
        """What would be loaded, and where it would go."""
        what = f", unpack it ({self.unpack})" if self.unpack else ""
        check = f"check its SHA-256 {self.sha256[:12]}…" if self.sha256 else "not check its content"
        return [f"load {self.url.redacted}, {check}{what}, and publish it at {self.target}"]


class Fetch(Step):
    """The step at work."""

    def __init__(self, config: FetchConfig, context: StepContext) -> None:
        self.config, self._context = config, context
        self.target = Path(config.target)
        self.part = self.target.with_name(f".{self.target.name}.part")
        self.store = self.target.with_name(f".{self.target.name}.d")

    async def done(self) -> bool:
        """Whether what is published is what the SHA-256 says."""
        if self.config.sha256 is None:
            return False
        if self.config.unpack:
            return self._unpacked() == self.store / self.config.sha256
        return self.target.is_file() and await asyncio.to_thread(_digest, self.target) == self.config.sha256

    async def apply(self) -> str:
        """Load, check, unpack beside the target, publish."""
        with self._locked():
            await self._load()
            found = await asyncio.to_thread(_digest, self.part)
            if self.config.sha256 not in (None, found):
                publish.remove(self.part)
                self._context.events.discarded(self._context.name, "wrong content", str(self.part))
                raise Fatal(f"the content's SHA-256 is {found}, not {self.config.sha256}", "check `url` and `sha256`")
            size = self.part.stat().st_size
            if self.config.unpack is None:
                self.part.chmod(int(self.config.mode, 8))
                self.part.replace(self.target)
                publish.settle(self.target.parent)
                return f"loaded {size} bytes into {self.target}"
            count = await self._publish_archive(self.config.unpack, found)
            return f"loaded {size} bytes and unpacked {count} files into {self.target}"

    async def _publish_archive(self, kind: Literal["tar", "zip"], digest: str) -> int:
        """Unpack in a thread, which is told to stop, and waited for, when this task is cancelled."""
        stop = threading.Event()
        work = asyncio.ensure_future(asyncio.to_thread(self._unpack, kind, digest, stop.is_set))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([work])
            raise

    def _unpack(self, kind: Literal["tar", "zip"], digest: str, stopped: Callable[[], bool]) -> int:
        folder, staging = self.store / digest, self.store / f"{digest}.{os.getpid()}"
        discard(staging)
        try:
            count = unpack(
                self.part, kind, staging, strip=self.config.strip, largest=self.config.max_size, stopped=stopped
            )
        except UnsafeArchive as error:
            discard(staging)
            publish.remove(self.part)
            raise Fatal(str(error), "publish another archive") from None
        except Stopped:
            discard(staging)
            raise
        if self._unpacked() == folder:  # loaded anew without a SHA-256 to know it by, and the same as before
            discard(staging)
        else:
            discard(folder)
            staging.rename(folder)
            publish.flip(self.target, f"{self.store.name}/{digest}")
        publish.remove(self.part)
        for stale in self.store.iterdir():
            if stale != folder:
                publish.remove(stale)
        return count

    def _unpacked(self) -> Path | None:
        """The folder that the link leads to; None if it leads nowhere, or to what is not ours."""
        if not self.target.is_symlink():
            return None
        folder = self.target.parent / self.target.readlink()
        return folder if folder.parent == self.store and folder.is_dir() else None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.target.parent.mkdir(parents=True, exist_ok=True)
        with self.target.with_name(f".{self.target.name}.lock").open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Transient(f"{self.target} is in use by another process", after=0.2) from None
            yield

    async def _load(self) -> None:
        """Load into the part file, from where it ended if its content can be checked afterwards."""
        import aiohttp

        # Without a SHA-256 nobody could tell that the two halves are of different versions.
        offset = self.part.stat().st_size if self.config.sha256 and self.part.exists() else 0
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        if self.config.token is not None:
            headers["Authorization"] = f"Bearer {self.config.token.read()}"
        silence = aiohttp.ClientTimeout(total=None, sock_connect=self.config.timeout, sock_read=self.config.timeout)
        try:
            async with (
                aiohttp.ClientSession(timeout=silence, trust_env=True) as session,
                session.get(self.config.url, headers=headers) as answer,
            ):
                if answer.status == 416 and offset:
                    return  # everything is here already; the SHA-256 decides
                if answer.status not in (200, 206):
                    raise _refused(answer.status, answer.headers.get("Retry-After"))
                resumed = answer.status == 206 and offset > 0
                await self._write(answer.content.iter_chunked(1 << 18), offset if resumed else 0)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Transient(f"{self.config.url.redacted}: {_said(error)}") from None

    async def _write(self, chunks: AsyncIterator[bytes], offset: int) -> None:
        size = offset
        with self.part.open("ab" if offset else "wb") as file:
            async for chunk in chunks:
                size += len(chunk)
                if size > self.config.max_size:
                    publish.remove(self.part)
                    raise Fatal(
                        f"the content is larger than {self.config.max_size}", "raise `max_size` if it should be"
                    )
                file.write(chunk)
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())


def _refused(status: int, after: str | None) -> Transient | Fatal:
    reason = f"the server answered with status {status}"
    if status >= 500 or status in _PASSING:
        return Transient(reason, after=float(after) if after and after.isdecimal() else None)
    return Fatal(reason, "check `url` and `token`")


def _said(error: BaseException) -> str:
    """Without the URL, which may hold a password."""
    reason = getattr(error, "strerror", None) or getattr(getattr(error, "os_error", None), "strerror", None)
    return str(reason or type(error).__name__)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
