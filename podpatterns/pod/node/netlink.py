"""The few requests to the kernel's routing netlink that a pod's network is made of (RFC 3549; rtnetlink(7)).

They act on the network namespace in which the socket was opened. Written by hand because `ip` is not on every machine.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Final, Self

NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x4, 0x200, 0x400
NLMSG_ERROR: Final = 2
RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE, RTM_NEWRULE = 16, 20, 24, 32
IFF_UP: Final = 1
IFLA_IFNAME, IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_FD = 3, 10, 18, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_OIF, RTA_GATEWAY = 4, 5
FRA_IIFNAME, FRA_IP_PROTO, FRA_DPORT_RANGE = 3, 22, 24
FR_ACT_TO_TBL: Final = 1
RT_TABLE_MAIN, RT_SCOPE_HOST, RT_SCOPE_UNIVERSE = 254, 254, 0
RTPROT_STATIC, RTN_UNICAST, RTN_LOCAL, RTN_BLACKHOLE = 4, 1, 2, 6

_HEADER: Final = struct.Struct("=IHHII")
_LINK: Final = struct.Struct("=BxHiII")
_ADDRESS: Final = struct.Struct("=BBBBI")
_ROUTE: Final = struct.Struct("=BBBBBBBBI")


def _attribute(kind: int, value: bytes | str | int) -> bytes:
    body = value.encode() + b"\0" if isinstance(value, str) else value
    body = struct.pack("=I", body) if isinstance(body, int) else body
    return struct.pack("=HH", 4 + len(body), kind) + body + bytes(-len(body) % 4)


class Netlink:
    """A netlink socket of the network namespace that we are in: `with Netlink() as net: net.up("lo")`."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _ask(self, kind: int, body: bytes, flags: int = 0) -> None:
        self._number += 1
        head = _HEADER.pack(_HEADER.size + len(body), kind, NLM_F_REQUEST | NLM_F_ACK | flags, self._number, 0)
        self._socket.send(head + body)
        answer = self._socket.recv(1 << 16)
        (error,) = struct.unpack_from("=i", answer, _HEADER.size)
        if struct.unpack_from("=H", answer, 4) == (NLMSG_ERROR,) and error:
            raise OSError(-error, os.strerror(-error))

    # --- interfaces -----------------------------------------------------------------------------------------------

    def bridge(self, name: str) -> None:
        """A new bridge."""
        info = _attribute(IFLA_LINKINFO, _attribute(IFLA_INFO_KIND, "bridge"))
        self._ask(RTM_NEWLINK, _LINK.pack(0, 0, 0, 0, 0) + _attribute(IFLA_IFNAME, name) + info, _NEW)

    def pair(self, name: str, bridge: str, peer: str, namespace: int) -> None:
        """A new pair of interfaces: `name` here, at the bridge, and `peer` in the namespace with this descriptor."""
        far = _LINK.pack(0, 0, 0, 0, 0) + _attribute(IFLA_IFNAME, peer) + _attribute(IFLA_NET_NS_FD, namespace)
        data = _attribute(IFLA_INFO_DATA, _attribute(VETH_INFO_PEER, far))
        info = _attribute(IFLA_LINKINFO, _attribute(IFLA_INFO_KIND, "veth") + data)
        here = _attribute(IFLA_IFNAME, name) + _attribute(IFLA_MASTER, socket.if_nametoindex(bridge))
        self._ask(RTM_NEWLINK, _LINK.pack(0, 0, 0, 0, 0) + here + info, _NEW)

    def up(self, name: str) -> None:
        """Switch an interface on."""
        self._ask(RTM_NEWLINK, _LINK.pack(0, 0, socket.if_nametoindex(name), IFF_UP, IFF_UP))

    # --- addresses and routes -------------------------------------------------------------------------------------

    def address(self, name: str, address: str, prefix: int) -> None:
        """Give an interface an address."""
        packed = socket.inet_aton(address)
        head = _ADDRESS.pack(socket.AF_INET, prefix, 0, 0, socket.if_nametoindex(name))
        self._ask(RTM_NEWADDR, head + _attribute(IFA_LOCAL, packed) + _attribute(IFA_ADDRESS, packed), _NEW)

    def default_route(self, gateway: str) -> None:
        """Send what is not for a network of our own to a gateway."""
        self._route(RT_TABLE_MAIN, RT_SCOPE_UNIVERSE, RTN_UNICAST, _attribute(RTA_GATEWAY, socket.inet_aton(gateway)))

    def swallow(self) -> None:
        """Drop what no other route wants, without an answer."""
        self._route(RT_TABLE_MAIN, RT_SCOPE_UNIVERSE, RTN_BLACKHOLE)

    def all_is_here(self, table: int) -> None:
        """In a routing table of its own: every address counts as one of ours."""
        self._route(table, RT_SCOPE_HOST, RTN_LOCAL, _attribute(RTA_OIF, socket.if_nametoindex("lo")))

    def _route(self, table: int, scope: int, kind: int, attributes: bytes = b"") -> None:
        head = _ROUTE.pack(socket.AF_INET, 0, 0, 0, table, RTPROT_STATIC, scope, kind, 0)
        self._ask(RTM_NEWROUTE, head + attributes, _NEW)

    def look_up(self, table: int, *, port: int, interface: str) -> None:
        """TCP packets for a port that come in by an interface follow that routing table."""
        head = _ROUTE.pack(socket.AF_INET, 0, 0, 0, table, 0, 0, FR_ACT_TO_TBL, 0)
        match = _attribute(FRA_IIFNAME, interface) + _attribute(FRA_IP_PROTO, bytes([socket.IPPROTO_TCP]))
        self._ask(RTM_NEWRULE, head + match + _attribute(FRA_DPORT_RANGE, struct.pack("=HH", port, port)), _NEW)


_NEW: Final = NLM_F_CREATE | NLM_F_EXCL
