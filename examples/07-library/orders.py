"""An application that embeds a sidecar: it takes orders, logs them, and ships its own log.

python orders.py /tmp/orders          # takes orders until Ctrl-C; the store is /tmp/orders/store.ndjson
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
from pathlib import Path

import podpatterns
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.inputs.tail import TailConfig
from podpatterns.sidecar.outputs import OutputConfig
from podpatterns.sidecar.outputs.file import FileConfig
from podpatterns.sidecar.transforms.parse import ParseConfig

log = logging.getLogger("orders")


@podpatterns.transform
def hide_customers(batch: Batch) -> Batch:
    """Keep names out of the log store: plain Python, a whole batch at a time."""
    return batch.map(lambda record: {**record, "customer": "***"} if "customer" in record else record)


def shipping(folder: Path, output: OutputConfig | None = None) -> podpatterns.SidecarConfig:
    """What the sidecar does: parse the lines, hide the customers, store the rest."""
    return podpatterns.SidecarConfig(
        inputs=[TailConfig(paths=[str(folder / "orders.log")])],
        transforms=[ParseConfig(format="logfmt"), hide_customers],
        outputs=[output or FileConfig(path=str(folder / "store.ndjson"))],
        checkpoint=str(folder / "checkpoint.json"),
    )


def take_order(number: int, customer: str) -> None:
    """The application's own work; it knows nothing of log shipping."""
    log.info("order=%d customer=%s total=%d.50", number, customer, number % 40)


def log_to(folder: Path) -> logging.Handler:
    """Write the log to a file."""
    handler = logging.FileHandler(folder / "orders.log")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    return handler


async def main(folder: Path) -> None:
    """Take an order every 100 ms; leaving the block ships what is left."""
    log_to(folder)
    async with podpatterns.Sidecar(shipping(folder)):
        for number in itertools.count(1):
            take_order(number, customer="ada")
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "orders")
    place.mkdir(parents=True, exist_ok=True)
    try:
        asyncio.run(main(place))
    except KeyboardInterrupt:
        print(f"the log is in {place / 'store.ndjson'}")
