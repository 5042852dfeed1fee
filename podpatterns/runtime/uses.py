"""What a configuration uses of the place where it runs: files, folders, sockets, ports. Pure.

Whoever builds a container around a configuration needs to know. A configuration class says it beside its fields, in
READS and WRITES; secrets, and addresses to listen on, are known by their type and name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from podpatterns.runtime.schema import Config
from podpatterns.runtime.units import Address, SecretFile

_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class File:
    """A file, a folder or a socket. `path` is the folder that has to be there."""

    field: str
    """Where it is configured: `sidecar.inputs[0].paths[0]`."""
    path: str
    writes: bool = False
    shared: bool = True
    """False if nobody else needs to see it."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port that is listened on; `local`: for the containers of the pod alone."""

    field: str
    number: int
    udp: bool = False
    local: bool = False
    host: str = ""
    """Empty for all interfaces."""

    def meets(self, other: Port) -> bool:
        """Whether the two cannot be listened on at the same time."""
        anywhere = {self.host, other.host} & {"", "0.0.0.0", "::"}
        return (self.number, self.udp) == (other.number, other.udp) and bool(anywhere or self.host == other.host)


def folder(path: str) -> str:
    """The folder in which everything lies that a path or a glob names."""
    fixed = path[: wild.start()] if (wild := _WILD.search(path)) else path
    return fixed.rpartition("/")[0] or "/"


def uses(value: Any, field: str = "") -> Iterator[File | Port]:
    """Everything that a configuration uses, in its order."""
    if isinstance(value, Config):
        for each in msgspec.structs.fields(type(value)):
            place = f"{field}.{each.encode_name}" if field else each.encode_name
            inner = getattr(value, each.name)
            if each.name in value.READS or each.name in value.WRITES:
                for path in (inner,) if isinstance(inner, str) else inner or ():
                    if path.startswith("/"):
                        yield File(place, folder(path), each.name in value.WRITES, each.name not in value.PRIVATE)
            elif each.name == "listen":
                yield from _listening(value, inner, place)
            else:
                yield from uses(inner, place)
    elif isinstance(value, SecretFile):
        yield File(field, folder(value))
    elif isinstance(value, Address):
        if value.path is not None:
            yield File(field, folder(value.path))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from uses(inner, f"{field}.{key}" if field else key)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from uses(inner, f"{field}[{index}]")


def clash(value: Any) -> tuple[Port, Port] | None:
    """The first two ports of a configuration that meet, in its order."""
    seen: list[Port] = []
    for each in uses(value):
        if isinstance(each, Port):
            other = next((port for port in seen if port.meets(each)), None)
            if other is not None:
                return other, each
            seen.append(each)
    return None


def _listening(config: Config, listen: Any, field: str) -> Iterator[File | Port]:
    for address in (listen,) if isinstance(listen, str) else listen or ():
        if not isinstance(address, Address):
            continue
        if address.path is not None:
            yield File(field, folder(address.path), writes=True)
        elif address.port:
            local = address.host in {"localhost", "::1"} or address.host.startswith("127.")
            yield Port(field, address.port, getattr(config, "protocol", "tcp") == "udp", local, address.host)
