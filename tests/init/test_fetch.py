"""The fetch step against a real server, and archives that mean harm."""

from __future__ import annotations

import hashlib
import io
import stat
import tarfile
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from podpatterns.init.steps import Fatal, Step, Transient
from podpatterns.init.steps.fetch import FetchConfig
from podpatterns.init.unpack import UnsafeArchive, inside, unpack
from podpatterns.runtime.units import SecretFile, Size, Url

CONTENT = bytes(range(256)) * 4000


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Origin:
    """Serves one body with ranges; can break off, answer with a status, or redirect."""

    def __init__(self) -> None:
        self.body, self.status, self.breaks = CONTENT, 200, 0
        self.requests: list[tuple[str | None, str | None]] = []
        self.location = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.headers.get("Range"), request.headers.get("Authorization")))
        if self.location:
            raise web.HTTPFound(self.location)
        if self.status != 200:
            return web.Response(status=self.status, headers={"Retry-After": "7"})
        start = int(request.headers["Range"][6:-1]) if "Range" in request.headers else 0
        if start >= len(self.body):
            return web.Response(status=416)
        answer = web.StreamResponse(status=206 if start else 200)
        answer.content_length = len(self.body) - start
        await answer.prepare(request)
        if self.breaks:
            self.breaks -= 1
            await answer.write(self.body[start : start + 300_000])
            assert request.transport is not None
            request.transport.close()
            return answer
        await answer.write(self.body[start:])
        return answer


@pytest.fixture
async def origin() -> AsyncIterator[tuple[Origin, Url]]:
    state = Origin()
    app = web.Application()
    app.router.add_get("/file", state.handle)
    async with TestServer(app) as server:
        yield state, Url(f"http://127.0.0.1:{server.port}/file")


Build = Callable[..., Step]
Served = tuple[Origin, Url]


async def test_file(step: Build, origin: Served, tmp_path: Path) -> None:
    """A file is published with its mode, and not loaded again while its hash is right."""
    target = tmp_path / "new" / "f"
    fetch = step(FetchConfig(url=origin[1], target=str(target), sha256=sha(CONTENT), mode="0640"))
    assert not await fetch.done()
    await fetch.apply()
    assert target.read_bytes() == CONTENT
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert await fetch.done()
    target.write_bytes(b"defaced")
    assert not await fetch.done()


async def test_resume(step: Build, origin: Served, tmp_path: Path) -> None:
    """When the connection breaks, the next try goes on where it ended; nothing is published before the end."""
    state, url = origin
    state.breaks = 2
    fetch = step(FetchConfig(url=url, target=str(tmp_path / "f"), sha256=sha(CONTENT)))
    for _ in range(2):
        with pytest.raises(Transient):
            await fetch.apply()
        assert not (tmp_path / "f").exists()
    await fetch.apply()
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert state.requests[0][0] is None
    assert all(asked is not None for asked, _ in state.requests[1:])


async def test_wrong_content(step: Build, origin: Served, tmp_path: Path) -> None:
    """What does not hash to what it must is never published, nor kept."""
    fetch = step(FetchConfig(url=origin[1], target=str(tmp_path / "f"), sha256="0" * 64))
    with pytest.raises(Fatal, match="SHA-256"):
        await fetch.apply()
    assert names(tmp_path) == [".f.lock"]


@pytest.mark.parametrize(
    ("status", "kind"), [(404, Fatal), (401, Fatal), (429, Transient), (503, Transient), (500, Transient)]
)
async def test_status(step: Build, origin: Served, tmp_path: Path, status: int, kind: Any) -> None:
    """A status may pass or not; Retry-After is heeded."""
    origin[0].status = status
    with pytest.raises(kind, match=str(status)) as caught:
        await step(FetchConfig(url=origin[1], target=str(tmp_path / "f"))).apply()
    if kind is Transient:
        assert caught.value.after == 7


async def test_too_large(step: Build, origin: Served, tmp_path: Path) -> None:
    """More than is allowed is refused, and removed."""
    fetch = step(FetchConfig(url=origin[1], target=str(tmp_path / "f"), max_size=Size(1000)))
    with pytest.raises(Fatal, match="larger than 1000"):
        await fetch.apply()
    assert names(tmp_path) == [".f.lock"]


async def test_token(step: Build, origin: Served, tmp_path: Path) -> None:
    """The token goes to the URL's own host, and not to where that redirects."""
    state, url = origin
    (tmp_path / "token").write_text("t0ken\n")
    elsewhere = Origin()
    app = web.Application()
    app.router.add_get("/file", elsewhere.handle)
    async with TestServer(app) as server:
        state.location = f"http://127.0.0.1:{server.port}/file"
        config = FetchConfig(url=url, target=str(tmp_path / "f"), token=SecretFile(str(tmp_path / "token")))
        await step(config).apply()
    assert state.requests == [(None, "Bearer t0ken")]
    assert elsewhere.requests == [(None, None)]


def tar(*entries: tuple[str, bytes | None, str], mode: str = "w:gz") -> bytes:
    """(name, content, link): a folder where both are empty."""
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content, link in entries:
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if link:
                info.type, info.linkname = tarfile.SYMTYPE, link
            elif content is None:
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content or b""))
    return body.getvalue()


async def test_archive(step: Build, origin: Served, tmp_path: Path) -> None:
    """An archive is published as a symlink that flips; a second run has nothing to do; the old one is removed."""
    state, url = origin
    for number in (b"1", b"2"):
        state.body = tar(("top", None, ""), ("top/bin/x", number, ""), ("top/link", None, "bin/x"))
        config = FetchConfig(url=url, target=str(tmp_path / "d"), sha256=sha(state.body), unpack="tar", strip=1)
        fetch = step(config)
        assert not await fetch.done()
        await fetch.apply()
        assert await fetch.done()
        assert (tmp_path / "d" / "bin" / "x").read_bytes() == number
        assert (tmp_path / "d" / "link").read_bytes() == number
        assert (tmp_path / "d" / "bin" / "x").stat().st_mode & 0o111
        assert names(tmp_path / ".d.d") == [sha(state.body)]
    assert names(tmp_path) == [".d.d", ".d.lock", "d"]


HARMFUL = {
    "absolute": tar(("/etc/x", b"", "")),
    "up": tar(("a/../../x", b"", "")),
    "link out": tar(("a", None, "/etc/passwd")),
    "link up": tar(("a", None, "../..")),
    "link through a link": tar(("d", None, ""), ("d/a", None, "."), ("b", None, "d/a/../.."), ("c", b"", "")),
    "file over a link": tar(("a", None, "/tmp"), ("a/x", b"", "")),
    "twice": tar(("a", b"1", ""), ("a", b"2", "")),
    "bomb": tar(("a", bytes(2_000_000), "")),
    "cut off": tar(("a", bytes(100_000), ""))[:60],
    "no archive": b"hello",
}


@pytest.mark.parametrize("archive", HARMFUL.values(), ids=HARMFUL.keys())
async def test_harmful_archive(step: Build, origin: Served, tmp_path: Path, archive: bytes) -> None:
    """An archive that leads out of its target, or is damaged, is fatal; nothing is published, and nothing is left."""
    state, url = origin
    state.body = archive
    config = FetchConfig(url=url, target=str(tmp_path / "in" / "d"), unpack="tar", max_size=Size("1MiB"))
    with pytest.raises(Fatal):
        await step(config).apply()
    assert names(tmp_path) == ["in"]
    assert not (tmp_path / "in" / "d").is_symlink()
    assert not names(tmp_path / "in" / ".d.d")


def test_hard_links_and_devices(tmp_path: Path) -> None:
    """What is not a file, a folder or a symlink is refused."""
    for kind in (tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        body = io.BytesIO()
        with tarfile.open(fileobj=body, mode="w") as archive:
            info = tarfile.TarInfo("a")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        (tmp_path / "a.tar").write_bytes(body.getvalue())
        with pytest.raises(UnsafeArchive, match="not a file"):
            unpack(tmp_path / "a.tar", "tar", tmp_path / str(kind), largest=100)


def test_zip(tmp_path: Path) -> None:
    """A zip is unpacked by the same rules, symlinks included."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("d/", "")
        archive.writestr("d/f", "one")
        link = zipfile.ZipInfo("d/l")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "f")
    assert unpack(tmp_path / "a.zip", "zip", tmp_path / "out", largest=100) == 1
    assert (tmp_path / "out" / "d" / "l").read_text() == "one"
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("../f", "one")
    with pytest.raises(UnsafeArchive, match="leads out"):
        unpack(tmp_path / "b.zip", "zip", tmp_path / "out2", largest=100)


@pytest.mark.parametrize(
    ("name", "strip", "expected"), [("a/b", 0, "a/b"), ("./a//b/", 0, "a/b"), ("a/b", 1, "b"), ("a", 1, None)]
)
def test_inside(name: str, strip: int, expected: str | None) -> None:
    """Names are taken relative to the target, without leading folders where asked."""
    found = inside(name, strip)
    assert (None if found is None else str(found)) == expected
