"""New names for metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from podpatterns.adapter.reasons import Tried
from podpatterns.adapter.transforms import Transform, TransformConfig
from podpatterns.formats.families import Family, is_metric_name
from podpatterns.runtime.schema import InvalidField


class RenameConfig(TransformConfig, frozen=True, kw_only=True):
    """Gives metrics new names: single ones from a table, all others a prefix."""

    EXAMPLE: ClassVar[str] = """
    type: rename
    prefix: "shop_"
    names: {requests_total: "shop_http_requests_total"}
    """

    prefix: str = ""
    """What every name gets in front, unless it begins with it already or stands in `names`. Empty: nothing."""

    names: dict[str, str] = {}
    """New names by old ones, as the page has them: `_total` included, `_bucket`, `_count` and `_sum` left out."""

    def __post_init__(self) -> None:
        if self.prefix and not is_metric_name(self.prefix):
            raise InvalidField(
                "prefix", f'"{self.prefix}" cannot begin the name of a metric; use letters, digits and _'
            )
        for old, name in self.names.items():
            if not is_metric_name(name):
                raise InvalidField(f"names.{old}", f'"{name}" is no name of a metric; use letters, digits, _ and :')

    def build(self) -> Transform:
        """The transform."""
        return Rename(self.prefix, self.names)


class Rename:
    """Changes names; samples are not touched."""

    def __init__(self, prefix: str, names: dict[str, str]) -> None:
        self._prefix, self._names = prefix, names

    def apply(self, families: list[Family]) -> list[Family]:
        """The same families under their new names."""
        for family in families:
            family.name = self._new(family.name)
        return families

    def tried(self, family: Family) -> Iterator[Tried]:
        """For people: the table, then the prefix."""
        name = family.name
        becomes = f"{name} becomes {self._new(name)}"
        if name in self._names:
            yield Tried("matched", "names", becomes)
            return
        if self._names:
            yield Tried("no match", "names", f"{name} is not among them")
        if self._prefix:
            what = f"prefix {self._prefix}"
            if name.startswith(self._prefix):
                yield Tried("no match", what, f"{name} begins with it already")
            else:
                yield Tried("matched", what, becomes)

    def _new(self, name: str) -> str:
        new = self._names.get(name)
        if new is not None:
            return new
        return name if name.startswith(self._prefix) else self._prefix + name
