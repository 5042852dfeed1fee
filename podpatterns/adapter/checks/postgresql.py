"""Whether PostgreSQL answers."""

from __future__ import annotations

import contextlib
import ssl  # which asyncio has imported already
from typing import Annotated, ClassVar, Literal

import msgspec

from podpatterns.adapter.checks import AddressedConfig, Check, CheckContext, Failed, secret
from podpatterns.adapter.checks._query import Query, judge
from podpatterns.errors import StartError
from podpatterns.runtime.units import Address, SecretFile

CLOSE = 0.2
"""Seconds for the farewell, before the connection is cut."""


class PostgresqlConfig(AddressedConfig, frozen=True, kw_only=True):
    """Passes if PostgreSQL lets us in and answers a query, in a transaction that may not write.

    It needs the extra `podpatterns[postgresql]`, which is in the adapter's image.
    """

    EXAMPLE: ClassVar[str] = """
type: postgresql
address: 127.0.0.1:5432
user: health
password: /var/run/secrets/postgresql/password
"""

    address: Address = Address("127.0.0.1:5432")
    """Where it listens: the pod's own loopback on the usual port by default. For a socket, the folder in which it lies:
    `unix:/var/run/postgresql`."""

    user: Annotated[str, msgspec.Meta(min_length=1)] = "postgres"
    """Who asks. A role that may connect and nothing else is enough for the default query."""

    password: SecretFile | None = None
    """A file with the password, read anew each time. None: PostgreSQL asks for none."""

    database: Annotated[str, msgspec.Meta(min_length=1)] = "postgres"
    """Where the query is asked."""

    query: Query = "SELECT 1"
    """What is asked."""

    expect: str | None = None
    """What the first value of the first row must be, as text: `7`, `true`, `null`. None: any answer passes, as long as
    there is no error."""

    tls: Literal["disable", "prefer", "require", "verify-full"] = "prefer"
    """As `sslmode` of PostgreSQL's own clients: `verify-full` checks the certificate and its name, against the
    authorities that the system knows, or those in the file that `SSL_CERT_FILE` names."""

    def build(self, context: CheckContext) -> Check:  # noqa: ARG002 - it needs nothing of the adapter
        """The check. Raises StartError where the client is not installed."""
        return Postgresql(self)

    def asks(self) -> str:
        """What is asked."""
        return f"ask PostgreSQL at {self.address}, as {self.user} in {self.database}: {self.query}"


class Postgresql(Check):
    """Connects for each question, so that a server that lets nobody in any more fails."""

    def __init__(self, config: PostgresqlConfig) -> None:
        try:
            import asyncpg  # type: ignore[import-untyped]
        except ImportError:
            raise StartError(
                "the postgresql check needs a client that is not installed: pip install 'podpatterns[postgresql]'"
            ) from None
        self._config, self._client = config, asyncpg
        # asyncpg would look for authorities in ~/.postgresql, which no container has.
        self._tls: str | ssl.SSLContext = config.tls
        if config.address.path:
            self._tls = "disable"
        elif config.tls == "verify-full":
            self._tls = ssl.create_default_context()

    async def probe(self) -> None:
        """Connect, ask, hang up."""
        config = self._config
        password = None if config.password is None else secret(config.password)
        try:
            connection = await self._client.connect(
                host=config.address.path or config.address.host or "localhost",
                port=config.address.port or 5432,
                user=config.user,
                password=password,
                database=config.database,
                ssl=self._tls,
                timeout=config.timeout,
                server_settings={
                    "application_name": "podpatterns",
                    "default_transaction_read_only": "on",
                    # In the middle of a query a server does not see that its client has gone; it looks at the clock.
                    "statement_timeout": str(max(1, int(config.timeout * 1000))),
                },
            )
            try:
                row = await connection.fetchrow(config.query)
            except BaseException:
                connection.terminate()  # also where our time is over: a farewell would take more of it
                raise
            with contextlib.suppress(TimeoutError):
                await connection.close(timeout=CLOSE)
        except self._client.PostgresError as error:
            raise Failed(f"PostgreSQL says: {error}") from None
        except self._client.InterfaceError as error:
            raise Failed(str(error)) from None
        judge(row, config.expect)
