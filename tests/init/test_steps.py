"""The steps wait, render, run and permissions against real files, sockets and programs."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from podpatterns.init.steps import Fatal, Step, Transient
from podpatterns.init.steps.permissions import PermissionsConfig
from podpatterns.init.steps.render import RenderConfig
from podpatterns.init.steps.run import RunConfig
from podpatterns.init.steps.wait import ConditionConfig, WaitConfig
from podpatterns.runtime.units import Address, Duration, SecretFile, Url

Build = Callable[..., Step]


def waiting(*conditions: ConditionConfig, **more: Any) -> WaitConfig:
    return WaitConfig(until=conditions, timeout=Duration("300ms"), interval=Duration("20ms"), **more)


async def reason(step: Step) -> str:
    assert not await step.done()
    with pytest.raises(Transient) as caught:
        await step.apply()
    return caught.value.reason


# --- wait ------------------------------------------------------------------------------------------------------------


async def test_wait_tcp(step: Build, unused_tcp_port: int) -> None:
    """A port is there when somebody accepts connections; until then it says why not."""
    wait = step(waiting(ConditionConfig(tcp=Address(f"127.0.0.1:{unused_tcp_port}"))))
    assert await reason(wait) == f"still waiting for tcp 127.0.0.1:{unused_tcp_port} (connection refused)"
    async with await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", unused_tcp_port):
        assert await wait.done()


async def test_wait_unix(step: Build, tmp_path: Path) -> None:
    """A unix socket is waited for in the same way."""
    path = str(tmp_path / "s")
    wait = step(waiting(ConditionConfig(tcp=Address(f"unix:{path}"))))
    assert "No such file" in await reason(wait)
    async with await asyncio.start_unix_server(lambda r, w: w.close(), path):
        assert await wait.done()


@pytest.mark.parametrize(
    ("answer", "status", "expected"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", "200-399", None),
        (b"HTTP/1.0 302 Found\r\n\r\n", "200-399", None),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "200-399", "status 503"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "204", "status 200"),
        (b"HTTP/1.1 404\r\n\r\n", "404", None),
        (b"SSH-2.0-x\r\n", "200-399", "the answer is not HTTP"),
        (b"x" * 70_000, "200-399", "the answer is not HTTP"),
        (b"", "200-399", "closed without an answer"),
        (None, "200-399", "no answer within 300ms"),
    ],
)
async def test_wait_http(step: Build, answer: bytes | None, status: str, expected: str | None) -> None:
    """An answer with a fitting status will do; anything else is named."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        if answer is not None:
            writer.write(answer)
        else:
            await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = Url(f"http://me:pw@127.0.0.1:{port}/healthz?x=1")
        wait = step(waiting(ConditionConfig(http=url, status=status)))
        if expected is None:
            assert await wait.done()
        else:
            said = await reason(wait)
            assert expected in said
            assert "pw" not in said
    assert asked[0].startswith(b"GET /healthz?x=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port)
    assert b"Authorization: Basic bWU6cHc=\r\n" in asked[0]


async def test_wait_dns(step: Build) -> None:
    """A name is there when it has an address."""
    assert await step(waiting(ConditionConfig(dns="localhost"))).done()


async def test_wait_command(step: Build) -> None:
    """A command says yes with exit code 0; one that cannot be run at all is fatal."""
    assert await step(WaitConfig(until=(ConditionConfig(command=("true",)),))).done()
    assert "command false (exit code 1)" in await reason(step(WaitConfig(until=(ConditionConfig(command=("false",)),))))
    assert "no answer within" in await reason(step(waiting(ConditionConfig(command=("sleep", "9")))))
    with pytest.raises(Fatal, match="No such file"):
        await step(waiting(ConditionConfig(command=("/nonexistent",)))).done()


async def test_wait_all_any(step: Build, tmp_path: Path) -> None:
    """All must hold, or any one will do; what is missing is listed."""
    here, absent = ConditionConfig(file=str(tmp_path)), ConditionConfig(file=str(tmp_path / "x"))
    assert await reason(step(waiting(here, absent))) == f"still waiting for file {tmp_path}/x (not there)"
    assert await step(waiting(here, absent, match="any")).done()
    assert not await step(waiting(absent, absent, match="any")).done()


@pytest.mark.parametrize("values", [{}, {"file": "a", "dns": "b"}, {"command": ()}, {"tcp": Address(":80")}])
def test_wait_refused(values: dict[str, Any]) -> None:
    """A condition is exactly one thing."""
    with pytest.raises(ValueError, match=r"name"):
        ConditionConfig(**values)


# --- render ----------------------------------------------------------------------------------------------------------


async def test_render(step: Build, tmp_path: Path, monkeypatch: Any) -> None:
    """Secrets go before values, values before the environment; a second run has nothing to do."""
    monkeypatch.setenv("A", "environment")
    monkeypatch.setenv("B", "environment")
    (tmp_path / "t").write_text("${A} ${B} ${C} $host")
    (tmp_path / "secret").write_text("hush\n")
    target = tmp_path / "new" / "f"
    config = RenderConfig(
        template=str(tmp_path / "t"), target=str(target), values={"A": "value", "C": "value"},
        secrets={"C": SecretFile(str(tmp_path / "secret"))}, mode="0600",
    )  # fmt: skip
    render = step(config)
    assert not await render.done()
    assert "rendered" in await render.apply()
    assert target.read_text() == "value environment hush $host"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert await render.done()
    assert [path.name for path in target.parent.iterdir()] == ["f"]
    target.chmod(0o644)
    assert not await render.done()


async def test_render_undefined(step: Build, tmp_path: Path) -> None:
    """An undefined name is fatal, and the target stays as it was."""
    (tmp_path / "t").write_text("x\n${NOBODY_SET_THIS}")
    (tmp_path / "f").write_text("old")
    with pytest.raises(Fatal, match="line 2, column 1: NOBODY_SET_THIS is not defined"):
        await step(RenderConfig(template=str(tmp_path / "t"), target=str(tmp_path / "f"))).apply()
    assert (tmp_path / "f").read_text() == "old"


# --- run -------------------------------------------------------------------------------------------------------------


async def test_run_stamp(step: Build, tmp_path: Path) -> None:
    """With a stamp a command runs once, and again only when its inputs change."""
    script, stamp = tmp_path / "migrations", tmp_path / "state" / "stamp"
    script.mkdir()
    (script / "1.sql").write_text("one")

    def build(**more: Any) -> Step:
        command = ("sh", "-c", f"echo x >> {tmp_path}/log")
        return step(RunConfig(command=command, stamp=str(stamp), inputs=(str(script),), **more))

    async def once(run: Step) -> None:
        if not await run.done():
            await run.apply()

    for _ in range(2):
        await once(build())
    assert (tmp_path / "log").read_text() == "x\n"
    (script / "2.sql").write_text("two")
    await once(build())
    await once(build())
    await once(build(env={"MODE": "other"}))
    assert (tmp_path / "log").read_text() == "x\n" * 3


async def test_run_failure_is_not_stamped(step: Build, tmp_path: Path) -> None:
    """A failure leaves no stamp."""
    run = step(RunConfig(command=("false",), stamp=str(tmp_path / "stamp")))
    with pytest.raises(Transient, match="exit code 1"):
        await run.apply()
    assert not await run.done()


async def test_run_takes_turns(step: Build, tmp_path: Path) -> None:
    """Of several that share a stamp one runs the command; the others find it done."""
    config = RunConfig(command=("sh", "-c", f"echo x >> {tmp_path}/log"), stamp=str(tmp_path / "stamp"))

    async def until_done(run: Step) -> None:
        while not await run.done():
            try:
                await run.apply()
            except Transient:
                await asyncio.sleep(0.001)  # another has its turn

    async with asyncio.timeout(10):
        await asyncio.gather(*(until_done(step(config)) for _ in range(4)))
    assert (tmp_path / "log").read_text() == "x\n"


async def test_run_secrets(step: Build, tmp_path: Path) -> None:
    """A secret reaches the command, and is hidden in what is said of its failure."""
    (tmp_path / "secret").write_text("hunter2\n")
    secrets = {"PGPASSWORD": SecretFile(str(tmp_path / "secret"))}
    run = step(RunConfig(command=("sh", "-c", 'echo "denied for $PGPASSWORD" >&2; exit 77'), secrets=secrets))
    with pytest.raises(Fatal, match=r"exit code 77: denied for \*\*\*"):
        await run.apply()


@pytest.mark.parametrize(
    ("command", "more", "kind", "match"),
    [
        (("/nonexistent",), {}, Fatal, "No such file"),
        (("/etc/passwd",), {}, Fatal, "Permission denied"),
        (("true",), {"directory": "/nonexistent"}, Fatal, "working directory"),
        (("sleep", "9"), {"timeout": Duration("100ms")}, Transient, "ended after 0.1 s"),
        (("sh", "-c", "kill -9 $$"), {}, Transient, "ended by SIGKILL"),
        (("sh", "-c", "exit 2"), {"fatal": ()}, Transient, "exit code 2"),
    ],
)
async def test_run_failures(step: Build, command: Any, more: Any, kind: Any, match: str) -> None:
    """Each way to fail is named, and is passing or fatal."""
    with pytest.raises(kind, match=match):
        await step(RunConfig(command=command, **more)).apply()


async def test_run_ignores_sigterm(step: Build) -> None:
    """A command that ignores SIGTERM is killed."""
    run = step(RunConfig(command=("sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"), timeout=Duration("50ms")))
    async with asyncio.timeout(5):
        with pytest.raises(Transient, match="ended after"):
            await run.apply()


# --- permissions -----------------------------------------------------------------------------------------------------


async def test_permissions(step: Build, tmp_path: Path) -> None:
    """Folders and files get their bits, links are left alone, and a second run has nothing to do."""
    top, outside = tmp_path / "top", tmp_path / "outside"
    (top / "sub").mkdir(parents=True)
    (top / "sub" / "f").touch(0o644)
    outside.touch(0o644)
    (top / "link").symlink_to(outside)
    permissions = step(PermissionsConfig(paths=(str(top),), directories="0710", files="0600"))
    assert not await permissions.done()
    assert await permissions.apply() == "changed 3 entries"
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (top, top / "sub", top / "sub" / "f", outside)}
    assert modes == {"top": 0o710, "sub": 0o710, "f": 0o600, "outside": 0o644}
    assert await permissions.done()


async def test_permissions_create(step: Build, tmp_path: Path) -> None:
    """A missing path is made if asked for, and an error otherwise."""
    path = tmp_path / "a" / "b"
    with pytest.raises(FileNotFoundError):
        await step(PermissionsConfig(paths=(str(path),), directories="0700")).apply()
    create = step(PermissionsConfig(paths=(str(path),), directories="0700", create=True))
    await create.apply()
    assert await create.done()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_permissions_owner(step: Build, tmp_path: Path) -> None:
    """Root gives everything below a folder to another user, links themselves included."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "link").symlink_to("/etc/passwd")
    await step(PermissionsConfig(paths=(str(tmp_path / "d"),), owner=10001, group=10002)).apply()
    for path in (tmp_path / "d", tmp_path / "d" / "link"):
        assert (path.lstat().st_uid, path.lstat().st_gid) == (10001, 10002)
    assert os.stat("/etc/passwd").st_uid == 0  # noqa: PTH116 - what the link leads to is not touched
