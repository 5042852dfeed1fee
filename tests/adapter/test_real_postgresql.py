"""The PostgreSQL check against a real server: passwords, queries, locks that last, and no way to write."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from podpatterns.adapter.checks.postgresql import PostgresqlConfig
from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.health import HealthConfig
from podpatterns.adapter.runtime import Adapter
from podpatterns.runtime.units import Address, Duration, SecretFile

pytestmark = pytest.mark.e2e

PASSWORD = "hunter2-hunter2"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A cluster of the test's own: host and port, and the folder with its socket. It refuses to run as root."""
    program = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)), None)
    assert program, "there is no PostgreSQL; tests/e2e/setup.sh installs it"
    user = pwd.getpwnam("nobody")
    folder = Path("/tmp") / f"podpatterns-postgresql-{os.getpid()}"
    folder.mkdir()
    (folder / "secret").write_text(PASSWORD)
    os.chown(folder, user.pw_uid, user.pw_gid)
    (folder / "secret").chmod(0o644)

    def run(name, *arguments):
        command = [program.with_name(name), *arguments]
        subprocess.run(command, user=user.pw_uid, group=user.pw_gid, cwd=folder, check=True, capture_output=True)

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    data = folder / "data"
    try:
        run(
            "initdb",
            *("--pgdata", data, "--username", "postgres", "--auth", "scram-sha-256", "--pwfile", folder / "secret"),
            "--no-sync",
        )
        key = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            "/CN=shop",
        ]
        files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key", "-out", folder / "crt"]
        subprocess.run(["openssl", *key, *files], user=user.pw_uid, group=user.pw_gid, check=True, capture_output=True)
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        options += f" -c ssl=on -c ssl_cert_file={folder}/crt -c ssl_key_file={folder}/key"
        run("pg_ctl", "--pgdata", data, "--wait", "--log", folder / "log", "--options", options, "start")
        yield port, folder
        run("pg_ctl", "--pgdata", data, "--mode", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def check(server, tmp_path):
    """Makes a check of the server."""
    port, _ = server
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    common = {"address": Address(f"127.0.0.1:{port}"), "password": SecretFile(secret), "timeout": Duration("3s")}
    return lambda **more: PostgresqlConfig(**(common | more))


@asynccontextmanager
async def watched(config):
    health = HealthConfig(listen=Address("127.0.0.1:0"), checks=[config])
    async with Adapter(AdapterConfig(health=health)) as adapter:
        (found,) = adapter.health[0].checks.values()
        yield adapter.health[0], found


async def reason(config):
    async with watched(config) as (health, found):
        await health.look(found)
        return found.reason


async def comes_to_pass(config):
    """The server takes a moment to end a connection."""
    async with asyncio.timeout(10):
        while await reason(config):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_a_query_that_is_answered_passes(check, server):
    """Over TCP with SCRAM, and over the socket."""
    port, folder = server
    assert await reason(check()) == ""
    assert await reason(check(query="SELECT 6 * 7", expect="42")) == ""
    assert await reason(check(address=Address(f"unix:{folder}/.s.PGSQL.{port}"))) == ""


async def test_what_fails_says_why_and_no_secret(check, tmp_path, unused_tcp_port):
    """A wrong password, a database that is not there, an answer that is not expected, writing, nobody there."""
    wrong = tmp_path / "wrong"
    wrong.write_text("other-secret")
    said = await reason(check(password=SecretFile(wrong)))
    assert "password authentication failed" in said
    assert "other-secret" not in said
    assert 'database "shop" does not exist' in await reason(check(database="shop"))
    assert await reason(check(expect="2")) == "the query gives another value than is expected"
    assert await reason(check(query="SELECT 1 WHERE false", expect="1")) == "the query gives no row"
    writing = "SELECT 1 FROM pg_class LIMIT 1 FOR UPDATE"
    assert "read-only transaction" in await reason(check(query=writing))
    assert await reason(check(address=Address(f"127.0.0.1:{unused_tcp_port}"))) == "connection refused"


async def test_the_certificate_is_checked_where_that_is_wanted(check, server, monkeypatch):
    """Against the authorities of the system, or those of `SSL_CERT_FILE`; a home directory is not needed."""
    _, folder = server
    for tls in ("disable", "prefer", "require"):
        assert (
            await reason(
                check(
                    tls=tls,
                    query="SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
                    expect=("false" if tls == "disable" else "true"),
                )
            )
            == ""
        )
    assert await reason(check(tls="verify-full")) == "the certificate is refused: self-signed certificate"
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "crt"))
    assert await reason(check(tls="verify-full")) == ""
    assert "the certificate is refused: " in await reason(
        check(tls="verify-full", address=Address("localhost:" + str(server[0])))
    )


async def test_a_query_that_lasts_is_given_up(check):
    """Within its time, and the server is rid of the connection."""
    slow = check(query="SELECT pg_sleep(60)", timeout=Duration("400ms"))
    began = time.monotonic()
    assert await reason(slow) == "no answer within 400ms"
    assert time.monotonic() - began < 3
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
    await comes_to_pass(check(query=sleeping, expect="0"))


async def test_many_checks_leave_no_connection(check):
    """Each has its own, and says farewell."""
    for _ in range(20):
        assert await reason(check()) == ""
    ours = "SELECT count(*) < 3 FROM pg_stat_activity WHERE application_name = 'podpatterns'"
    await comes_to_pass(check(query=ours, expect="true"))
