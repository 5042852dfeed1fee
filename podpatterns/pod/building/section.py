"""What the builders of all parts share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podpatterns.pod.reading import Document


class Section:
    """A part of one document, to which problems go. `paths`: where containers, variables and volumes stand."""

    def __init__(self, document: Document, paths: dict[str, str]) -> None:
        self.document = document
        self.paths = paths
        self.fail = document.fail

    def positive(self, value: Mapping[str, Any], base: str, name: str, default: int, *, least: int = 1) -> int:
        """A whole number of at least `least`; the default if there is none."""
        found = value.get(name, default)
        if found < least:
            self.fail(f"{base}.{name}", f"must be at least {least}, not {found}")
            return default
        return int(found)

    def one_of(self, value: Mapping[str, Any], path: str, names: tuple[str, ...]) -> str | None:
        """The name of the one field that is given; None, with a problem, if it is none or several."""
        found = [name for name in names if name in value]
        if len(found) != 1:
            said = f"has {' and '.join(found)}" if found else "is empty"
            self.fail(path, f"{said}; give exactly one of {', '.join(names)}")
        return found[0] if found else None
