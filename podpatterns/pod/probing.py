"""Carries out what a probe or a hook asks for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from podpatterns.pod.environment import ADDRESS
from podpatterns.pod.model import Exec, Handler, HttpGet, TcpSocket
from podpatterns.pod.process import LaunchFailed
from podpatterns.runtime import http_get

RunCommand = Callable[[tuple[str, ...], float], Awaitable[tuple[int, str]]]
"""Runs a command in the container, within some seconds; its exit code and output."""


async def perform(handler: Handler, timeout: float, run: RunCommand, speed: float = 1) -> tuple[bool, str]:  # noqa: ASYNC109
    """Whether it passed, and if not, why. `timeout` in seconds; never raises for what the far side does."""
    try:
        async with asyncio.timeout(timeout):
            match handler:
                case Exec(command):
                    code, said = await run(command, timeout)
                    return code == 0, f"{command[0]}: exit code {code}" + (f": {said}" if said else "")
                case HttpGet():
                    host, tls = handler.host or ADDRESS, handler.scheme == "HTTPS"
                    status, _ = await http_get.get(host, handler.port, handler.path, handler.headers, tls=tls)
                    return 200 <= status < 400, f"HTTP {status} from {_url(handler)}"
                case TcpSocket():
                    _, writer = await asyncio.open_connection(handler.host or ADDRESS, handler.port)
                    writer.transport.abort()
                    return True, ""
                case _:
                    await asyncio.sleep(handler.seconds / speed)
                    return True, ""
    except TimeoutError:
        return False, f"no answer within {timeout:g} s from {_place(handler)}"
    except LaunchFailed as error:
        return False, str(error)
    except (OSError, http_get.BadAnswer) as error:
        return False, f"{_place(handler)}: {_why(error)}"


def _why(error: Exception) -> str:
    """The system's own words, which asyncio covers with the address."""
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if isinstance(number, int) and number > 0 else str(error)


def _url(handler: HttpGet) -> str:
    return f"{handler.scheme.lower()}://{handler.host or ADDRESS}:{handler.port}{handler.path}"


def _place(handler: Handler) -> str:
    match handler:
        case Exec(command):
            return command[0]
        case HttpGet():
            return _url(handler)
        case TcpSocket():
            return f"{handler.host or ADDRESS}:{handler.port}"
    return "the hook"
