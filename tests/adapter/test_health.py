"""Laws of the health endpoint: what it answers, when, and that nobody who asks waits for a check."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import Any

import pytest

from podpatterns.adapter.checks.command import CommandConfig
from podpatterns.adapter.checks.file import FileConfig
from podpatterns.adapter.checks.tcp import TcpConfig
from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.health import Health, HealthConfig
from podpatterns.adapter.naming import named
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.adapter.runtime import Adapter
from podpatterns.adapter.verdict import State
from podpatterns.errors import ConfigError, StartError
from podpatterns.runtime import config as configuration
from podpatterns.runtime.http_get import get_url
from podpatterns.runtime.units import Address, Duration, Url
from tests.adapter.looking import until

ANY = Address("127.0.0.1:0")
OFTEN: dict[str, Any] = {"interval": Duration("20ms"), "failures": 2}


def endpoint(*checks: Any, **more: Any) -> AdapterConfig:
    return AdapterConfig(health=HealthConfig(listen=ANY, startup=Duration("0s"), checks=list(checks), **more))


async def asked(health: Health, below: str = "") -> tuple[int, dict[str, Any]]:
    status, body = await get_url(Url(health.url + below), body=True)
    return status, json.loads(body)


async def comes_to(health: Health, **states: str) -> None:
    """Wait for the states; checks are made many times a second here, and there is no event to wait for."""
    await until(lambda: {name: health.checks[name].verdict.state for name in states} == states)


async def test_the_answer_follows_the_checks(tmp_path):
    """503 until all have passed, then 200, 503 when a critical one fails, and 200 with a word when another one does."""
    heart, extra = tmp_path / "heart", tmp_path / "extra"
    checks = [
        FileConfig(name="heart", path=str(heart), max_age=Duration("1h"), **OFTEN),
        FileConfig(name="extra", path=str(extra), max_age=Duration("1h"), critical=False, **OFTEN),
    ]
    extra.touch()
    async with Adapter(endpoint(*checks)) as adapter:
        (health,) = adapter.health
        await comes_to(health, heart="failing", extra="passing")
        status, answer = await asked(health)
        assert (status, answer["status"]) == (503, "failing")
        assert answer["checks"]["heart"]["reason"] == "there is no such file"
        assert answer["checks"]["extra"].keys() == {"status", "critical", "since", "checked", "duration_seconds"}
        heart.touch()
        await comes_to(health, heart="passing")
        assert (await asked(health))[0] == 200
        extra.unlink()
        await comes_to(health, extra="failing")
        status, answer = await asked(health)
        assert (status, answer["status"]) == (200, "degraded")
        assert (await asked(health, "/heart"))[0] == 200
        status, answer = await asked(health, "/extra")
        assert (status, answer["status"], answer["reason"]) == (503, "failing", "there is no such file")
        status, answer = await asked(health, "/nose")
        assert (status, answer) == (404, {"error": "there are /health, /health/heart, /health/extra"})


async def test_whoever_asks_waits_for_no_check():
    """A check hangs; the answer is the last result, at once."""
    slow = CommandConfig(command=("sleep", "60"), timeout=Duration("30s"))
    async with Adapter(endpoint(slow)) as adapter:
        began = time.monotonic()
        status, answer = await asked(adapter.health[0])
        assert time.monotonic() - began < 1
        assert (status, answer["status"]) == (503, "starting")
        assert answer["checks"]["command"].keys() == {"status", "critical", "since"}


async def test_a_start_is_not_blamed(tmp_path):
    """While a check has never passed and the time for that is not over, it is starting; then it fails."""
    missing = FileConfig(path=str(tmp_path / "x"), max_age=Duration("1h"), interval=Duration("10ms"), failures=1)
    config = HealthConfig(listen=ANY, startup=Duration("300ms"), checks=[missing])
    async with Adapter(AdapterConfig(health=config)) as adapter:
        (health,) = adapter.health
        watched = health.checks["file"]
        await health.look(watched)
        assert watched.verdict.state is State.STARTING
        assert (await asked(health))[1]["status"] == "starting"
        await comes_to(health, file="failing")
        assert watched.verdict.since - watched.verdict.began >= 0.3


async def test_a_check_that_is_broken_is_a_failing_one(tmp_path):
    """It takes neither the other checks nor the adapter with it."""

    async def broken() -> None:
        raise ZeroDivisionError

    async with Adapter(endpoint(FileConfig(path=str(tmp_path), max_age=Duration("1h")))) as adapter:
        (health,) = adapter.health
        watched = health.checks["file"]
        watched.check.probe = broken  # type: ignore[method-assign]
        await health.look(watched)
        assert watched.reason == "the check itself is broken: ZeroDivisionError"


async def test_health_reloads():
    """A changed endpoint takes the place of the old one; one that cannot start leaves the old one where it was."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        check = TcpConfig(address=Address(f"127.0.0.1:{port}"))
        first = endpoint(check)
        async with Adapter(first) as adapter:
            (before,) = adapter.health
            second = endpoint(check, path="/well")
            await adapter.reload(second)
            assert adapter.health[0].url.endswith("/well")
            with pytest.raises(OSError, match="Connect call failed"):
                await asked(before)
            bad = HealthConfig(listen=Address(f"127.0.0.1:{port}"), checks=[check])
            with pytest.raises(StartError, match=r"set adapter\.health\.listen to a free address"):
                await adapter.reload(AdapterConfig(health=bad))
            await comes_to(adapter.health[0], tcp="passing")
            page = PrometheusConfig(listen=ANY, final_scrape=Duration("0s"))
            await adapter.reload(AdapterConfig(outputs=[page], health=second.health))
            assert 'podpatterns_adapter_check_up{check="tcp"} 1' in (await adapter.page()).decode()


async def test_only_reading():
    """The endpoint takes nothing from anybody, and says so."""
    async with Adapter(endpoint(CommandConfig(command=("true",)))) as adapter:
        port = int(adapter.health[0].url.split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
        writer.close()


async def test_a_page_without_an_output():
    """For whoever embeds an adapter: the form is that of a scraper."""
    async with Adapter(endpoint(CommandConfig(command=("true",)))) as adapter:
        await adapter.health[0].look(next(iter(adapter.health[0].checks.values())))
        assert b'podpatterns_adapter_check_up{check="command"} 1\n' in await adapter.page()


def test_the_names_of_checks_are_their_own():
    """Two of a type are told apart; a name that is there twice is refused where it stands."""
    one = TcpConfig(address=Address("127.0.0.1:1"))
    config = HealthConfig(checks=[one, TcpConfig(address=Address("127.0.0.1:2"), name="b"), one])
    assert [name for name, _ in named(config.checks)] == ["tcp", "b", "tcp-2"]
    text = "adapter:\n  health:\n    checks:\n    - {type: file, path: /x, max_age: 1m, name: a}\n"
    text += "    - {type: file, path: /y, max_age: 1m, name: a}\n"
    with pytest.raises(ConfigError, match=r'f\.yaml:5:\d+: adapter.health.checks\[1\].name: "a" is the name of two'):
        configuration.loads([("f.yaml", text)])


def test_explain_says_what_would_be_asked_and_how_often():
    """Nothing is asked."""
    config = endpoint(TcpConfig(address=Address("127.0.0.1:1"), critical=False))
    assert list(config.explain()) == [
        "health at 127.0.0.1:0/health: all of the critical checks must pass",
        "check tcp: connect to 127.0.0.1:1",
        "    every 10s, for at most 1s",
        "    3 failures in a row count, then the endpoint says degraded, with 200",
    ]
