"""Prometheus remote write, for pods that nobody scrapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.outputs import Output, Source
from podpatterns.adapter.pushing import Post, PostConfig
from podpatterns.formats import remote_write
from podpatterns.formats.families import Family, label_name
from podpatterns.runtime.schema import InvalidField

CONTENT_TYPE = "application/x-protobuf"


class RemoteWriteConfig(PostConfig, frozen=True, kw_only=True):
    """Pushes by Prometheus' remote write 1.0: to Prometheus, Mimir, Thanos, VictoriaMetrics and others.

    For Jobs and pods that are gone before anyone scrapes them. A series that ends, and every one when the adapter
    ends, gets a stale marker, as after a scrape.
    """

    EXAMPLE: ClassVar[str] = """
    type: remote_write
    url: http://prometheus.monitoring:9090/api/v1/write
    labels: {job: shop}
    """

    labels: dict[str, str] = {}
    """Labels that every series gets, unless it has them already: `job` and `instance`, which a scrape would give."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.labels:
            if not name or label_name(name) != name or name.startswith("__"):
                raise InvalidField(f"labels.{name}", f'"{name}" cannot be a label; use letters, digits and _')

    def build(self, source: Source, events: AdapterEvents) -> Output:
        """The output."""
        return RemoteWrite(self, source, events)


class RemoteWrite(Post):
    """Encodes by hand, for a protobuf library would cost more memory than all of this."""

    def __init__(self, config: RemoteWriteConfig, source: Source, events: AdapterEvents) -> None:
        fields = {
            "Content-Type": CONTENT_TYPE,
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        super().__init__("remote_write", config, fields, source, events)
        self._labels = config.labels
        self._writer = remote_write.Writer(config.labels)

    def encode(self, families: Sequence[Family], now: float) -> list[bytes]:
        """Messages of up to 2,000 samples, compressed."""
        return list(map(_compressed, self._writer.write(families, now)))

    def last(self, now: float) -> list[bytes]:
        """Stale markers for every series."""
        return list(map(_compressed, self._writer.end(now)))

    def render(self, families: Sequence[Family], accept: str) -> tuple[bytes, str]:  # noqa: ARG002 - it has one form
        """One message with everything, not compressed, without times."""
        return b"".join(remote_write.Writer(self._labels).write(families, 0.0)), CONTENT_TYPE


def _compressed(message: bytes) -> bytes:
    import cramjam

    return bytes(cramjam.snappy.compress_raw(message))
