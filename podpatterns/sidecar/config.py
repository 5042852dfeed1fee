"""The configuration of the sidecar."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec

from podpatterns.runtime.config import PatternConfig
from podpatterns.runtime.schema import InvalidField, Items, component_type
from podpatterns.runtime.units import Duration, Size
from podpatterns.sidecar.inputs import InputConfig
from podpatterns.sidecar.outputs import OutputConfig
from podpatterns.sidecar.transforms import TransformConfig

if TYPE_CHECKING:
    from podpatterns.runtime.service import Context
    from podpatterns.sidecar.runtime import Sidecar


class SidecarConfig(PatternConfig, frozen=True, kw_only=True):
    """Ships logs: what the inputs read goes through the transforms, in order, to every output."""

    WRITES: ClassVar[frozenset[str]] = frozenset({"checkpoint", "dead_letters"})
    PRIVATE: ClassVar[frozenset[str]] = WRITES

    inputs: Items[InputConfig]
    """Where lines come from."""

    transforms: Items[TransformConfig] = ()
    """What happens to them on the way, in this order. None: lines are shipped as they are, in the field `message`."""

    outputs: Items[OutputConfig]
    """Where records go: each of them gets every record. A line counts as acknowledged when all have it. Each has a
    position of its own: one that is down does not hold up the others before it is `max_lag` behind."""

    fields: dict[str, Any] = {}
    """Fixed fields of every record, such as `{pod: "${POD_NAME}"}`; they win over fields of the same name in a line."""

    checkpoint: Annotated[str, msgspec.Meta(min_length=1)] = "/var/lib/podpatterns/sidecar/checkpoint.json"
    """The file that says how far has been acknowledged. It should outlive the container (an emptyDir does): without
    it a
    restart ships everything again."""

    dead_letters: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """Where records go that can never be delivered, as NDJSON with the reason. None: `dead-letters.ndjson` beside the
    checkpoint."""

    batch: Size = Size("1MiB")
    """Bytes of logs that are gathered for one delivery; less when `linger` is over first, when there are 16,384
    records, or when the container's memory limit leaves no room for so much."""

    linger: Duration = Duration("1s")
    """How long a line may wait for others to travel with. Shorter means sooner, and more deliveries."""

    memory: Size = Size("8MiB")
    """Bytes, raw and encoded, that may be on their way at once; less where the container's memory limit leaves no room
    for so much. When it is full, reading waits: the log file is the buffer."""

    max_lag: Size = Size("1GiB")
    """With several outputs: how many bytes of logs one of them may be behind; then reading waits for it. What it has
    not had is read from the files once more, so rotated files are held until then and take room on the disk. What an
    input cannot read again (all but `tail`), and what went through `throttle`, stays in memory, and reading waits when
    `memory` is full of it."""

    retry_cap: Duration = Duration("30s")
    """The longest pause between two tries of a delivery; the pauses grow from 0.2 s to it, drawn evenly from zero on
    so that
    many sidecars do not come back at once. Tries never end: only the shutdown's grace does."""

    done_file: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """A file that says, by being there, that the application has ended: then everything is read to its end and
    delivered, and the sidecar ends with exit code 0. For a Job whose sidecar is an ordinary container; the command of
    the application makes the file when it ends, on a shared volume, and removes an old one when it begins. None: the
    sidecar ends with SIGTERM, as a native one does."""

    retry_after_cap: Duration = Duration("5m")
    """The longest pause that an output's `Retry-After` can ask for: a far side that says "tomorrow" is asked again
    before, and what has been repaired is found out."""

    def __post_init__(self) -> None:
        """Check what one field cannot say alone."""
        for name in ("inputs", "outputs"):
            if not getattr(self, name):
                raise InvalidField(name, f"name at least one of the {name}")
        kinds = [_kind(transform) for transform in self.transforms]
        for index, kind in enumerate(kinds):
            if kind == "multiline" and kinds[:index] not in ([], ["parse cri"], ["parse docker"]):
                raise InvalidField(
                    f"transforms[{index}]",
                    "multiline must stand first, or right behind parse with format: cri",
                )
            if kind in {"parse cri", "parse docker"} and index:
                raise InvalidField(f"transforms[{index}]", "parse with format: cri or docker must stand first")
        for field, path in self._written():
            if any(each.reads(path) for each in self.inputs):
                raise InvalidField(field, f"an input reads {path}: what is written there would be shipped, for ever")
        if not self.batch:
            raise InvalidField("batch", "must be more than nothing")
        if self.memory < 2 * self.batch:
            raise InvalidField("memory", f"must be at least twice the batch ({self.batch}), for its two forms")
        if self.max_lag < self.batch:
            raise InvalidField("max_lag", f"must be at least the batch ({self.batch})")
        if not self.retry_cap:
            raise InvalidField(
                "retry_cap", "must be longer than 0s: an output that is down would be asked without a pause"
            )

    def _written(self) -> Iterator[tuple[str, str]]:
        """Every file that is written, by the field that says so."""
        yield "checkpoint", self.checkpoint
        yield "dead_letters", str(self.dead_letters_path)
        for index, output in enumerate(self.outputs):
            for name in sorted(output.WRITES):
                paths = getattr(output, name) or ()
                yield from (
                    (f"outputs[{index}].{name}", path) for path in ([paths] if isinstance(paths, str) else paths)
                )

    @property
    def dead_letters_path(self) -> Path:
        """Where the dead letters are."""
        return Path(self.dead_letters or Path(self.checkpoint).with_name("dead-letters.ndjson"))

    def build(self, context: Context) -> Sidecar:
        """The runtime."""
        from podpatterns.sidecar.runtime import Sidecar

        return Sidecar(self, context)

    def explain(self, sample: str | None) -> Iterator[str]:
        """What becomes of each line of a sample."""
        from podpatterns.sidecar.explain import explain

        return explain(self, sample)


def _kind(transform: object) -> str:
    """`multiline`, `parse cri` and `parse docker`, which put lines together, by name."""
    if not isinstance(transform, TransformConfig):
        return ""  # a function of an application's own
    name = component_type(type(transform))
    return f"{name} {getattr(transform, 'format', '')}" if name == "parse" else name
