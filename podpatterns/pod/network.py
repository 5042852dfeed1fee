"""The networks that pods are on: one for each pod, or this machine's for all of them.

On networks of their own, pods are at a bridge of the node's, each with an address; this machine's network is touched by
none of it. What comes in and goes out passes through sockets that the node opens there and hands to the runner.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from ssl import SSLContext
from typing import Final, Protocol

from podpatterns.errors import PodpatternsError
from podpatterns.pod.model import LOOPBACK, Manifest, PodSpec
from podpatterns.pod.node.client import Node, NodeError
from podpatterns.runtime.http_get import Streams

RANGE: Final = ipaddress.ip_network("10.244.0.0/16")
"""The pods' addresses; each run has a range of its own, which nobody else can see."""
GATEWAY: Final = str(RANGE[1])
_FIRST_POD: Final = 2
_FIRST_SERVICE: Final = 255 << 8


class Network(Protocol):
    """Where pods are, and how they are reached."""

    own: bool
    """Each pod has a network of its own."""

    def placed(self, manifest: Manifest) -> Manifest:
        """The manifest with the addresses of its pods and services filled in."""

    def name(self, pod: PodSpec) -> str | None:
        """What the node knows the pod's network as; None: the machine's."""

    async def dial(self, pod: PodSpec, port: int, *, inside: bool = False) -> socket.socket:
        """Connect to the pod's address, or to localhost `inside` of it. Raises OSError."""

    async def connect(self, pod: PodSpec, host: str | None, port: int, *, ssl: SSLContext | None = None) -> Streams:
        """Connect as the kubelet does: to the pod's address, or from this machine to a `host`. Raises OSError."""


class HostNetwork:
    """This machine's network, for all pods."""

    own = False

    def placed(self, manifest: Manifest) -> Manifest:
        """Everything is at 127.0.0.1."""
        return replace(manifest, services=tuple(replace(each, address=LOOPBACK) for each in manifest.services))

    def name(self, pod: PodSpec) -> str | None:  # noqa: ARG002 - the same for all
        """No pod has one of its own."""
        return None

    async def dial(self, pod: PodSpec, port: int, *, inside: bool = False) -> socket.socket:  # noqa: ARG002 - the same
        """Connect to the port. Raises OSError."""
        return await connected(socket.socket(), (pod.address, port))

    async def connect(self, pod: PodSpec, host: str | None, port: int, *, ssl: SSLContext | None = None) -> Streams:
        """Connect to the port. Raises OSError."""
        return await asyncio.open_connection(host or pod.address, port, ssl=ssl)


class PodNetwork:
    """A network for each pod, except for those with `hostNetwork`."""

    own = True

    def __init__(self, node: Node) -> None:
        self._node = node

    def placed(self, manifest: Manifest) -> Manifest:
        """Pods and services get addresses in the order of the manifest. Raises PodpatternsError."""
        if len(manifest.pods) > _FIRST_SERVICE - _FIRST_POD or len(manifest.services) > 255:
            raise PodpatternsError("more pods or services than there are addresses for; run them in several runs")
        pods = tuple(
            pod if pod.host_network else replace(pod, address=str(RANGE[index]), node_address=GATEWAY)
            for index, pod in enumerate(manifest.pods, _FIRST_POD)
        )
        services = tuple(
            replace(service, address=str(RANGE[index]))
            for index, service in enumerate(manifest.services, _FIRST_SERVICE)
        )
        return replace(manifest, pods=pods, services=services)

    async def open(self, pods: Sequence[PodSpec]) -> None:
        """Make the networks. Raises NodeError."""
        for pod in pods:
            if not pod.host_network:
                await self._node.ask(
                    "pod", name=pod.name, hostname=pod.hostname[:63], address=pod.address, prefix=RANGE.prefixlen,
                    gateway=GATEWAY,
                )  # fmt: skip

    def name(self, pod: PodSpec) -> str | None:
        """Its own, unless it asks for the machine's."""
        return None if pod.host_network else pod.name

    async def dial(self, pod: PodSpec, port: int, *, inside: bool = False) -> socket.socket:
        """Connect from the node to the pod's address, or from inside of it to its localhost. Raises OSError."""
        if pod.host_network:
            return await connected(socket.socket(), (LOOPBACK, port))
        made = await self._socket(pod.name if inside else None)
        return await connected(made, (LOOPBACK if inside else pod.address, port))

    async def connect(self, pod: PodSpec, host: str | None, port: int, *, ssl: SSLContext | None = None) -> Streams:
        """Connect from the node to the pod, or from this machine to any other host. Raises OSError."""
        if host not in (None, pod.address) or pod.host_network:
            return await asyncio.open_connection(host or LOOPBACK, port, ssl=ssl)
        made = await self.dial(pod, port)
        return await asyncio.open_connection(sock=made, ssl=ssl, server_hostname=pod.address if ssl else None)

    async def _socket(self, pod: str | None) -> socket.socket:
        """A TCP socket of a pod's network, or of the node's. Raises OSError."""
        try:
            made: socket.socket = await self._node.ask("tcp", pod=pod)
        except NodeError as error:
            raise OSError(error.number or 0, str(error)) from None
        return made


async def connected(made: socket.socket, address: tuple[str, int]) -> socket.socket:
    """The socket, when it is connected; closed where it cannot be."""
    made.setblocking(False)  # noqa: FBT003 - takes no keyword
    try:
        await asyncio.get_running_loop().sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made


async def choose(wanted: str, node: Node, *, isolated: bool) -> tuple[Network, str]:
    """The network for `auto`, `pod` or `host`, and why it is not each pod's own. Raises PodpatternsError."""
    if wanted == "host":
        return HostNetwork(), "as asked for"
    if isolated:
        try:
            await node.ask("network", address=GATEWAY, prefix=RANGE.prefixlen)
        except NodeError as error:
            why = f"this machine gives this user no network namespace: {error}"
        else:
            return PodNetwork(node), ""
    else:
        why = "networks of their own need namespaces for mounts, too, which cannot be had here"
    if wanted == "pod":
        raise PodpatternsError(f"{why}; try --network host")
    return HostNetwork(), why


def name_server() -> str:
    """The machine's first name server."""
    with contextlib.suppress(OSError):
        for line in Path("/etc/resolv.conf").read_text("utf-8", "replace").splitlines():
            word, _, address = line.partition(" ")
            if word == "nameserver" and ":" not in address:
                return address.strip()
    return LOOPBACK
