"""Examples have ports that are easy to remember; tests run where others may have them."""

import contextlib
import re
import socket
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """So many different ones, which nobody has at this moment."""
    with contextlib.ExitStack() as taken:
        servers = [taken.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def moved(manifest: Path, folder: Path, *ports: int) -> dict[int, int]:
    """A copy of a manifest in a folder, with free ports in the place of these; says which they are."""
    free = dict(zip(ports, free_ports(len(ports)), strict=True))
    text = manifest.read_text("utf-8")
    for port, other in free.items():
        text = re.sub(rf"(?<!\d){port}(?!\d)", str(other), text)
    if 9803 in free:
        text = text.replace("runtime: {log_level: warning}", f"runtime: {{log_level: warning, admin: ':{free[9803]}'}}")
    if 9805 in free:
        text = text.replace("      health:\n", f"      health:\n        listen: ':{free[9805]}'\n")
    (folder / manifest.name).write_text(text, "utf-8")
    return free
