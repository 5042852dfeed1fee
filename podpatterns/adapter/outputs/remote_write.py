"""Prometheus remote write, for pods that nobody scrapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from podpatterns.adapter.naming import check_labels
from podpatterns.adapter.outputs import Output, OutputContext
from podpatterns.adapter.posting import Answer, Post, PostConfig
from podpatterns.errors import Retryable
from podpatterns.formats import remote_write
from podpatterns.formats.escaping import Scheme, escaped
from podpatterns.formats.families import Family

CONTENT_TYPE = "application/x-protobuf"

_FIELDS = {
    1: {"Content-Type": CONTENT_TYPE, "X-Prometheus-Remote-Write-Version": "0.1.0"},
    2: {
        "Content-Type": f"{CONTENT_TYPE};proto=io.prometheus.write.v2.Request",
        "X-Prometheus-Remote-Write-Version": "2.0.0",
    },
}
"""What requests bear, by version."""

_WRITTEN = "X-Prometheus-Remote-Write-Samples-Written"


class RemoteWriteConfig(PostConfig, frozen=True, kw_only=True):
    """Pushes by Prometheus' remote write 1.0 or 2.0: to Prometheus, Mimir, Thanos, VictoriaMetrics and others.

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

    version: Literal["1.0", "2.0"] = "1.0"
    """The protocol. 1.0 is understood by every receiver. 2.0 is less than half as long, and says type, help and unit of
    every series; a receiver that turns out not to know it gets 1.0, what waits included."""

    escaping: Scheme = "allow-utf-8"
    """What becomes of names with other characters than letters, digits, `_` and `:`, which a scraped page may have
    brought. Prometheus takes them as they are; a receiver that refuses them wants `underscores`, `dots` or `values`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_labels(self.labels)

    def build(self, context: OutputContext) -> Output:
        """The output."""
        return RemoteWrite(self, context)


class RemoteWrite(Post):
    """Encodes by hand, for a protobuf library would cost more memory than all of this.

    A receiver of 2.0 tells how many samples it has written; fewer than were sent are counted as `partly_written`.
    A receiver that does not know 2.0 says so by 415, or by an answer that does not say how much it has written: one of
    1.0 finds nothing that it knows in such a message, and is content.
    """

    def __init__(self, config: RemoteWriteConfig, context: OutputContext) -> None:
        self._labels, self._escaping = config.labels, config.escaping
        self._writer = remote_write.Writer(config.labels, version=2 if config.version == "2.0" else 1)
        fields = {"Content-Encoding": "snappy", **_FIELDS[self._writer.version]}
        super().__init__(config, fields, context)

    def encode(self, families: Sequence[Family], now: float) -> list[bytes]:
        """Messages of up to 2,000 samples, compressed."""
        return list(map(_compressed, self._writer.write(escaped(families, self._escaping), now)))

    def last(self, now: float) -> list[bytes]:
        """Stale markers for every series."""
        return list(map(_compressed, self._writer.end(now)))

    def judge(self, answer: Answer, body: bytes) -> None:
        """As others do, and look for what only 2.0 says."""
        written = answer.fields.get(_WRITTEN)
        if self._writer.version == 2 and (answer.status == 415 or (answer.status < 300 and written is None)):
            self._writer.version = 1
            self._fields |= _FIELDS[1]
            self._waiting.change(lambda body: _compressed(remote_write.downgraded(_plain(body))))
            raise Retryable("does not know remote write 2.0; going on with 1.0", after=0)
        super().judge(answer, body)
        if written is not None and self._writer.version == 2:
            self._count(written, body)

    def _count(self, written: str, body: bytes) -> None:
        """Whether as many samples were written as were sent; what was left out cannot be told, nor sent again."""
        sent = remote_write.count(_plain(body))
        if not (written.isascii() and written.isdigit() and int(written) >= sent):
            self.failed(f"{written[:20]} of {sent} samples were written")
            self.lost("partly_written", 1)

    def render(self, families: Sequence[Family], accept: str) -> tuple[bytes, str]:  # noqa: ARG002 - it has one form
        """One message with everything, not compressed, without times."""
        return b"".join(remote_write.Writer(self._labels).write(escaped(families, self._escaping), 0.0)), CONTENT_TYPE


def _compressed(message: bytes) -> bytes:
    import cramjam

    return bytes(cramjam.snappy.compress_raw(message))


def _plain(body: bytes) -> bytes:
    import cramjam

    return bytes(cramjam.snappy.decompress_raw(body))
