"""What parts are called in metrics, events and answers, where there may be several of a type; and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Annotated, TypeVar

import msgspec

from podpatterns.formats.families import RESERVED, is_label_name
from podpatterns.runtime.schema import Config, InvalidField, component_type


class NamedConfig(Config, frozen=True, kw_only=True):
    """What slots have in common whose parts have a name."""

    name: (
        Annotated[
            str,
            msgspec.Meta(
                pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$", extra={"is": "up to 63 letters, digits, dots, - and _"}
            ),
        ]
        | None
    ) = None
    """What it is called in metrics and events. None: its type, with a number from the second of a type on."""


C = TypeVar("C", bound=NamedConfig)


def named(configs: Iterable[C]) -> Iterator[tuple[str, C]]:
    """Each with what it is called."""
    seen: Counter[str] = Counter()
    for config in configs:
        if config.name is not None:
            yield config.name, config
            continue
        kind = component_type(type(config))
        seen[kind] += 1
        yield kind if seen[kind] == 1 else f"{kind}-{seen[kind]}", config


def check_names(field: str, configs: Iterable[NamedConfig]) -> None:
    """Blame the second of two that are called the same. Raises InvalidField."""
    seen: set[str] = set()
    for index, (name, _) in enumerate(named(configs)):
        if name in seen:
            raise InvalidField(f"{field}[{index}].name", f'"{name}" is the name of two {field}; give each its own')
        seen.add(name)


def check_labels(labels: Iterable[str]) -> None:
    """Blame the item of `labels` whose name cannot be a label's. Raises InvalidField."""
    for name in labels:
        if not is_label_name(name) or name in RESERVED or name.startswith("__"):
            hint = (
                "it means something of its own" if name in RESERVED else "use letters, digits and _, and no __ in front"
            )
            raise InvalidField(f"labels.{name}", f'"{name}" cannot be a label; {hint}')
