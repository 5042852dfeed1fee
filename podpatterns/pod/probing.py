"""Carries out what a probe or a hook asks for."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable

from podpatterns.pod import grpc_health
from podpatterns.pod.model import Exec, Grpc, Handler, HttpGet, PodSpec, Sleep, TcpSocket
from podpatterns.pod.network import Network
from podpatterns.pod.process import LaunchFailed
from podpatterns.runtime import http_get

RunCommand = Callable[[tuple[str, ...], float], Awaitable[tuple[int, str]]]
"""Runs a command in the container, within some seconds; its exit code and output."""

ON_LOOPBACK = "it listens on 127.0.0.1 alone, where no kubelet and no other pod can reach it; let it listen on 0.0.0.0"


async def perform(
    handler: Handler,
    timeout: float,  # noqa: ASYNC109
    run: RunCommand,
    *,
    network: Network,
    pod: PodSpec,
    speed: float = 1,
) -> tuple[bool, str]:
    """Whether it passed, and if not, why. `timeout` in seconds; never raises for what the far side does."""
    try:
        async with asyncio.timeout(timeout):
            match handler:
                case Exec(command):
                    code, said = await run(command, timeout)
                    return code == 0, f"{command[0]}: exit code {code}" + (f": {said}" if said else "")
                case HttpGet():
                    status, _ = await http_get.get(
                        handler.host or pod.address, handler.port, handler.path, handler.headers,
                        tls=handler.scheme == "HTTPS",
                        connect=lambda host, port, *, ssl: network.connect(pod, host, port, ssl=ssl),
                    )  # fmt: skip
                    return 200 <= status < 400, f"HTTP {status} from {_place(handler, pod)}"
                case TcpSocket():
                    _, writer = await network.connect(pod, handler.host, handler.port)
                    writer.transport.abort()
                    return True, ""
                case Grpc():
                    streams = await network.connect(pod, None, handler.port)
                    ok, said = await grpc_health.check(streams, f"{pod.address}:{handler.port}", handler.service)
                    return ok, f"{said} from {_place(handler, pod)}"
                case _:
                    await asyncio.sleep(handler.seconds / speed)
                    return True, ""
    except TimeoutError:
        return False, f"no answer within {timeout:g} s from {_place(handler, pod)}"
    except LaunchFailed as error:
        return False, str(error)
    except ConnectionRefusedError:
        hint = f"; {ON_LOOPBACK}" if await _on_loopback(handler, network, pod) else ""
        return False, f"{_place(handler, pod)}: connection refused{hint}"
    except (OSError, http_get.BadAnswer, grpc_health.BadAnswer) as error:
        return False, f"{_place(handler, pod)}: {_why(error)}"


async def _on_loopback(handler: Handler, network: Network, pod: PodSpec) -> bool:
    """Whether the port that refused can be had inside the pod: the commonest reason on a cluster."""
    if isinstance(handler, (Exec, Sleep)) or network.name(pod) is None or getattr(handler, "host", None):
        return False
    try:
        (await network.dial(pod, handler.port, inside=True)).close()
    except OSError:
        return False
    return True


def _why(error: Exception) -> str:
    """The system's own words, which asyncio covers with the address."""
    if isinstance(error, ssl.SSLError):  # its numbers are not the system's
        return f"no TLS ({(error.reason or str(error)).lower().replace('_', ' ')}); does it speak HTTP without it?"
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number).lower()
    if isinstance(error, ConnectionResetError):  # as asyncio says it of a handshake, without a word
        return "the connection was closed without an answer"
    return str(getattr(error, "strerror", None) or error)


def _place(handler: Handler, pod: PodSpec) -> str:
    match handler:
        case Exec(command):
            return command[0]
        case HttpGet():
            return f"{handler.scheme.lower()}://{handler.host or pod.address}:{handler.port}{handler.path}"
        case TcpSocket():
            return f"{handler.host or pod.address}:{handler.port}"
        case Grpc():
            return f"{pod.address}:{handler.port}"
    return "the hook"
