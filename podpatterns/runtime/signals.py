"""Signals: the first SIGTERM or SIGINT drains, the second ends at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Inside the block, Ctrl-C ends the process at once, as SIGTERM does, until `handled` takes over.

    Python's own way is an exception, or in an event loop the end of a task: both can come where they get lost.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def handled(drain: Callable[[str], None], at_once: Callable[[], None]) -> Iterator[None]:
    """Inside the block, the first signal calls `drain` with its name, and each later one `at_once`."""
    loop = asyncio.get_running_loop()
    seen = False

    def on_signal(number: signal.Signals) -> None:
        nonlocal seen
        if seen:
            at_once()
        else:
            seen = True
            drain(number.name)

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
