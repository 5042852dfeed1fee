"""The node's process: answers the runner's requests, one after the other, until the runner's end of the socket is gone.

A request is a marshalled dict in a memory file, whose descriptor comes first, with those of the request behind it; an
answer is a marshalled dict, with at most one descriptor. `do` names the request, the rest are its arguments.
"""

from __future__ import annotations

import _thread
import marshal
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from podpatterns.pod.node import launching, wire
from podpatterns.pod.node.netlink import Netlink
from podpatterns.pod.node.rootfs import LaunchError
from podpatterns.pod.node.syscalls import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MNT_DETACH,
    MS_NODEV,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    PR_SET_DUMPABLE,
    PR_SET_PDEATHSIG,
    SIGKILL,
    call,
    fork_sibling,
    mount,
    write,
)

BRIDGE: Final = "pods"
OUTLETS: Final = 100
"""The routing table for connections that leave the pods' network."""
IP_TRANSPARENT: Final = 19
SO_ATTACH_FILTER: Final = 26
ETH_P_IP: Final = 0x0800

# Connections that begin (SYN without ACK) over TCP, as tcpdump compiles `tcp[13] & 0x12 == 0x02`, on SOCK_DGRAM.
_BEGINNINGS: Final = (
    (0x30, 0, 0, 9), (0x15, 0, 7, socket.IPPROTO_TCP),
    (0x28, 0, 0, 6), (0x45, 5, 0, 0x1FFF),
    (0xB1, 0, 0, 0), (0x50, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02),
    (0x06, 0, 0, 64), (0x06, 0, 0, 0),
)  # fmt: skip


class Node:
    """What the process knows: the namespaces of the pods by name, and its own."""

    def __init__(self) -> None:
        self._pods: dict[str, tuple[int, int]] = {}
        self._network = self._names = -1

    # --- namespaces -----------------------------------------------------------------------------------------------

    def isolate(self) -> None:
        """Mounts of our own; for whoever is not root, in a user namespace that changes nobody's identity."""
        user, group = os.getuid(), os.getgid()
        try:
            call("unshare", CLONE_NEWNS)
        except PermissionError:
            call("unshare", CLONE_NEWUSER | CLONE_NEWNS, what="a user namespace")
            write("/proc/self/setgroups", "deny")
            write("/proc/self/uid_map", f"{user} {user} 1")
            write("/proc/self/gid_map", f"{group} {group} 1")
            # The change of credentials has cleared the first, and hidden our /proc from the user that we belong to.
            call("prctl", PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
            call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)
        mount(None, "/", None, MS_REC | MS_PRIVATE)

    def network(self, address: str, prefix: int) -> None:
        """A network of our own with a bridge for the pods; `address` is ours on it."""
        call("unshare", CLONE_NEWNET | CLONE_NEWUTS, what="a network namespace")
        self._network = os.open("/proc/self/ns/net", os.O_RDONLY)
        self._names = os.open("/proc/self/ns/uts", os.O_RDONLY)
        with Netlink() as net:
            net.up("lo")
            net.bridge(BRIDGE)
            net.address(BRIDGE, address, prefix)
            net.up(BRIDGE)

    def pod(self, name: str, hostname: str, address: str, prefix: int, gateway: str) -> None:
        """A network and a host name for one pod."""
        call("unshare", CLONE_NEWNET | CLONE_NEWUTS)
        try:
            pod = self._pods[name] = (
                os.open("/proc/self/ns/net", os.O_RDONLY),
                os.open("/proc/self/ns/uts", os.O_RDONLY),
            )
            socket.sethostname(hostname)
            with Netlink() as inside:
                self._home()
                with Netlink() as here:
                    near = f"pod{len(self._pods)}"
                    here.pair(near, BRIDGE, "eth0", pod[0])
                    here.up(near)
                call("setns", pod[0], CLONE_NEWNET)
                # As container runtimes have it, so that a process without rights can have port 80.
                write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")
                inside.up("lo")
                inside.address("eth0", address, prefix)
                inside.up("eth0")
                inside.default_route(gateway)
        finally:
            self._home()

    def _home(self) -> None:
        call("setns", self._network, CLONE_NEWNET)
        call("setns", self._names, CLONE_NEWUTS)

    def tmpfs(self, path: str, size: int) -> None:
        """A file system in memory, of so many bytes; seen by us and by what we start."""
        with suppress(OSError):
            call("umount2", os.fsencode(path), MNT_DETACH)  # an earlier pod's
        mount("podpatterns", path, "tmpfs", MS_NOSUID | MS_NODEV, f"mode=777,size={size}")

    # --- sockets --------------------------------------------------------------------------------------------------

    def tcp(self, pod: str | None) -> socket.socket:
        """A TCP socket of a pod's network, or of ours."""
        if pod is None:
            return _tcp()
        call("setns", self._pods[pod][0], CLONE_NEWNET)
        try:
            return _tcp()
        finally:
            self._home()

    def listen(self, address: str, port: int) -> socket.socket:
        """A listening socket of our network, at an address that is given to us if need be."""
        with Netlink() as net, suppress(FileExistsError):
            net.address(BRIDGE, address, 32)
        return _listening(address, port)

    def outlet(self, port: int) -> socket.socket:
        """A listening socket that gets the pods' connections to this port of any address."""
        listening = _listening("0.0.0.0", port, transparent=True)
        with Netlink() as net:
            net.look_up(OUTLETS, port=port, interface=BRIDGE)
        return listening

    def beginnings(self) -> socket.socket:
        """A packet socket with the first packet of every connection that leaves the pods, which it also lets leave."""
        with Netlink() as net:
            net.swallow()
            net.all_is_here(OUTLETS)
        write("/proc/sys/net/ipv4/ip_forward", "1")
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
        program = b"".join(struct.pack("HBBI", *step) for step in _BEGINNINGS)
        import ctypes

        held = ctypes.create_string_buffer(program)
        packets.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(_BEGINNINGS), ctypes.addressof(held))
        )
        packets.bind((BRIDGE, ETH_P_IP))
        return packets

    def names(self, address: str) -> socket.socket:
        """A UDP socket where name servers listen."""
        found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        found.bind((address, 53))
        return found

    # --- processes ------------------------------------------------------------------------------------------------

    def launch(self, plan: dict[str, Any], descriptors: list[int]) -> int:
        """Start a process; returns its number. It is a child of the runner.

        `plan` is that of `launching.become`; its `pod` names the network (None: ours), and `processes` is True for a
        PID namespace of its own, or the number of the process whose PID namespace is shared.
        """
        stdout, stderr, status = descriptors
        namespaces: list[tuple[int, int]] = []
        processes = plan["processes"]
        flags, theirs = 0, None
        if plan["enter"] is not None:
            namespaces = launching.inside(plan["enter"])
            theirs = launching.opened(plan["enter"], "pid")
        elif plan["pod"] is not None:
            network, names = self._pods[plan["pod"]]
            namespaces = [(network, CLONE_NEWNET), (names, CLONE_NEWUTS)]
        if plan["enter"] is None and processes is True:
            flags = CLONE_NEWPID
        elif plan["enter"] is None and processes:
            theirs = launching.opened(processes, "pid")

        def start() -> int:
            if theirs is not None:
                call("setns", theirs, CLONE_NEWPID)  # of the children of this thread, not its own
            process = fork_sibling(flags)
            if process == 0:
                launching.become(plan, status, namespaces, (stdout, stderr))
            return process

        try:
            # There is no way back for whoever is not root: the namespace that we come from is not ours.
            return start() if theirs is None else _aside(start)
        finally:
            if theirs is not None:
                os.close(theirs)
            if plan["enter"] is not None:
                for descriptor, _ in namespaces:
                    os.close(descriptor)


def _aside(work: Callable[[], int]) -> int:
    """The result of work that is done in a thread of its own, which ends with it."""
    found: list[int | BaseException] = []
    done = _thread.allocate_lock()
    done.acquire()

    def do() -> None:
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            found.append(error)
        finally:
            done.release()

    _thread.start_new_thread(do, ())
    done.acquire()
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def _tcp() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)


def _listening(address: str, port: int, *, transparent: bool = False) -> socket.socket:
    found = _tcp()
    if transparent:
        found.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
    # A service and an outlet may have the same port: the kernel prefers the socket that names the address.
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    found.bind((address, port))
    found.listen(128)
    return found


def main(descriptor: int) -> None:
    """Serve."""
    call("prctl", PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    node = Node()
    with socket.socket(fileno=descriptor) as runner:
        while True:
            _, received = wire.receive(runner)
            if not received:
                return  # the runner has ended
            with open(received[0], "rb") as file:
                request = marshal.load(file)  # noqa: S302 - written by the runner, in memory, for this very process
            descriptors = received[1:]
            made: socket.socket | None = None
            try:
                if descriptors:
                    request["descriptors"] = descriptors
                result = getattr(node, request.pop("do"))(**request)
                made = result if isinstance(result, socket.socket) else None
                answer = {"result": None if made is not None else result}
            except LaunchError as error:
                answer = {"error": f"{error.stage}: {error}"}
            except OSError as error:
                said = f"{error.filename or ''}: {error.strerror or error}".removeprefix(": ")
                answer = {"error": said, "errno": error.errno}
            finally:
                for each in descriptors:
                    os.close(each)
            wire.send(runner, marshal.dumps(answer), [made.fileno()] if made is not None else [])
            if made is not None:
                made.close()
