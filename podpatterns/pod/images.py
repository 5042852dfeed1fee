"""The images that need no `command` in a local run, because what they would start is known.

Agrees with `containers/*/Dockerfile`: ENTRYPOINT ["podpatterns"], CMD ["run", "/etc/podpatterns/<pattern>.yaml"].
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from podpatterns.runtime.config import ADMIN_PORTS, PATTERNS


@dataclass(frozen=True, slots=True)
class Image:
    """What an image starts, and where its admin endpoint is."""

    pattern: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    admin_port: int | None


KNOWN = {
    pattern: Image(
        pattern,
        entrypoint=(sys.executable, "-m", "podpatterns"),
        command=("run", f"/etc/podpatterns/{pattern}.yaml"),
        admin_port=ADMIN_PORTS.get(pattern),
    )
    for pattern in PATTERNS
}


def known(image: str) -> Image | None:
    """The entry for an image of ours, from any registry and with any tag or digest; None for all others."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    repository = f"{head}{slash}{last.partition(':')[0]}"
    parts = repository.split("/")
    if len(parts) >= 2 and parts[-2] == "podpatterns":
        return KNOWN.get(parts[-1])
    return None
