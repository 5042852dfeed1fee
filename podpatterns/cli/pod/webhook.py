"""`podpatterns pod webhook`: inject as the API server makes pods."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from podpatterns.cli._files import FILE

if TYPE_CHECKING:
    from podpatterns.pod.webhook.server import Webhook


@click.command("webhook", short_help="Serve an admission webhook that injects.")
@click.argument("file", type=FILE)
@click.option("--log-format", type=click.Choice(["auto", "json", "console"]), default="auto", show_default=True)
def command(*, file: Path, log_format: Literal["auto", "json", "console"]) -> None:
    """Answer the API server's reviews by the profiles in FILE, over HTTPS, until SIGTERM.

    Certificate, profiles and configurations are read anew when they change; a bad change keeps the last good one.
    """
    from podpatterns.pod.webhook.server import Webhook
    from podpatterns.runtime.telemetry import for_process

    asyncio.run(_serve(Webhook(file, for_process("info", log_format))))


async def _serve(webhook: Webhook) -> None:
    from podpatterns.runtime.signals import handled

    over = asyncio.Event()
    with handled(lambda _: over.set(), over.set):
        async with webhook, asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(webhook.run())
            await over.wait()
            looking.cancel()
