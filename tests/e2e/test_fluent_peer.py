"""Fluent's forward protocol with a shared key, against Fluent's own library for Node, as a client and as a server."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from podpatterns.runtime.units import Address, Duration, SecretFile
from podpatterns.sidecar.batch import Batch, Source
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.inputs.forward import ForwardConfig as InputConfig
from podpatterns.sidecar.outputs.forward import ForwardConfig
from podpatterns.sidecar.outputs.sqlite import SqliteConfig
from podpatterns.sidecar.runtime import Sidecar

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
CLIENT = """
const {FluentClient} = require('@fluent-org/logger');
const [,, port, sharedKey] = process.argv;
const client = new FluentClient('shop', {ack: {ackTimeout: 3000}, socket: {host: '127.0.0.1', port: +port},
  eventMode: 'PackedForward', security: {clientHostname: 'client.example', sharedKey}});
client.emit('app', {n: 1}).then(() => { console.log('acknowledged'); process.exit(0); }, () => process.exit(1));
setTimeout(() => process.exit(2), 3000);
"""
SERVER = """
const {FluentServer} = require('@fluent-org/logger');
const server = new FluentServer({listenOptions: {port: 0, host: '127.0.0.1'},
  security: {serverHostname: 'server.example', sharedKey: process.argv[2], authorize: false}});
server.on('entry', (tag, time, record) => console.log(JSON.stringify([tag, record])));
server.listen().then(() => console.log(server.port));
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("node")
    (directory / "client.js").write_text(CLIENT)
    (directory / "server.js").write_text(SERVER)
    (directory / "key").write_text("the key\n")
    npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "@fluent-org/logger@1.0.10"]
    subprocess.run(npm, cwd=directory, check=True)
    return directory


async def test_their_client_and_our_input(node: Path, tmp_path: Path) -> None:
    """With the key it is acknowledged, with another one it is not, and nothing of it is taken."""
    config = SidecarConfig(
        inputs=(InputConfig(listen=Address("127.0.0.1:0"), shared_key=SecretFile(node / "key"), hostname="us"),),
        outputs=(SqliteConfig(path=f"{tmp_path}/store"),),
        checkpoint=f"{tmp_path}/checkpoint",
        linger=Duration("2ms"),
    )
    async with Sidecar(config) as sidecar:
        source: Any = sidecar.inputs["forward"]
        said = []
        for key in ("the key", "another"):
            process = await asyncio.create_subprocess_exec(
                "node", "client.js", str(source.listener.port), key, cwd=node, stdout=subprocess.PIPE
            )
            out, _ = await process.communicate()
            said.append(out)
        assert said == [b"acknowledged\n", b""]
        assert sidecar.ledger.acknowledged == sidecar.ledger.read == 1


@pytest.mark.parametrize("compression", ["none", "gzip"])
async def test_our_output_and_their_server(node: Path, compression: Any) -> None:
    """With the key the record arrives; with another one we are refused, and say so."""
    server = await asyncio.create_subprocess_exec("node", "server.js", "the key", cwd=node, stdout=subprocess.PIPE)
    assert server.stdout is not None
    port = int(await server.stdout.readline())
    made = Batch(Source("app.log", "app.log"), None, 0, 6, lines=[b"hello"])
    made.encode({})
    (node / "wrong").write_text("another")
    settings: dict[str, Any] = {"address": Address(f"127.0.0.1:{port}"), "tag": "app", "compression": compression}
    output = ForwardConfig(shared_key=SecretFile(node / "key"), **settings).build()
    await output.start()
    await output.deliver([made])
    assert json.loads(await server.stdout.readline()) == ["app", {"message": "hello"}]
    await output.stop()
    output = ForwardConfig(shared_key=SecretFile(node / "wrong"), **settings).build()
    await output.start()
    with pytest.raises(ConnectionError, match="the far side has refused us"):
        await output.deliver([made])
    await output.stop()
    server.kill()
    await server.wait()
