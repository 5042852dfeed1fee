"""Telling what cannot listen where, and what to do about it: the same way for whatever listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from podpatterns.errors import StartError
from podpatterns.runtime.units import Address


@contextmanager
def listening(what: str, address: Address | str, remedy: str) -> Iterator[None]:
    """Open a listener in this block; `remedy` says what to do where it cannot be. Raises StartError for an OSError."""
    try:
        yield
    except OSError as error:
        raise StartError(f"{what} cannot listen on {address}: {error.strerror or error}; {remedy}") from None
