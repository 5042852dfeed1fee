"""The far side of the proxies: answers so cheaply that it is never what limits them.

    python -m benchmarks.ambassador.backend PORT...

What is answered depends on the path alone, and is ready before it is asked for; a request's body is read to its end
first.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import cast

import uvloop

CHUNK = 4096


def plain(size: int) -> bytes:
    """A response with a body of so many bytes."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (size, b"x" * size)


def chunked(size: int) -> bytes:
    """The same in chunks."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + (b"%x\r\n%b\r\n" % (CHUNK, b"x" * CHUNK)) * (size // CHUNK) + b"0\r\n\r\n"


ANSWERS = {b"/": plain(64), b"/16k": plain(16384), b"/1m": plain(1 << 20), b"/chunked": chunked(16384)}
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Backend(asyncio.Protocol):
    """Trusts its clients, which are proxies under test: one request at a time, and heads that come in one piece."""

    def __init__(self) -> None:
        self.left = 0
        """Bytes of the body that have not come; -1: the body is chunked, and ends as chunked bodies do."""
        self.end = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """A head, or more of a body."""
        if not self.left:
            if data.startswith(b"GET "):
                self.transport.write(ANSWERS[data[4 : data.index(b" ", 4)]])
                return
            head, _, data = data.partition(b"\r\n\r\n")
            length = LENGTH.search(head)
            self.left = int(length[1]) if length else -1
            self.end = b""
        if self.left < 0:
            self.end = (self.end + data)[-5:]
            if self.end != b"0\r\n\r\n":
                return
            self.left = 0
        else:
            self.left -= len(data)
        if not self.left:
            self.transport.write(ANSWERS[b"/"])


async def serve(ports: list[int]) -> None:
    """Every version in one process."""
    loop = asyncio.get_running_loop()
    for port in ports:
        await loop.create_server(Backend, "127.0.0.1", port, backlog=2048)
    await asyncio.Event().wait()


def secure(folder: Path, nginx: str, ports: list[int]) -> tuple[list[str], str]:
    """The command of a back end that speaks TLS, and the file with its certificate: nginx, which does it in C."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    (folder / "16k").write_bytes(b"x" * 16384)
    listen = "".join(f"listen 127.0.0.1:{port} ssl backlog=2048;\n" for port in ports)
    file = folder / "backend.conf"
    file.write_text(
        f"""
daemon off;
master_process off;
pid {folder}/backend.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  open_file_cache max=10;
  client_body_temp_path {folder}/backend-bodies;
  server {{
    {listen}
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    location = / {{ return 200 "{"x" * 64}"; }}
    location = /16k {{ root {folder}; }}
  }}
}}
""",
        "utf-8",
    )
    return [nginx, "-p", str(folder), "-c", str(file)], str(certificate)


if __name__ == "__main__":
    uvloop.run(serve([int(each) for each in sys.argv[1:]]))
