"""The override: a field of the request that names the version. For testers, whose requests no share may decide on."""

from __future__ import annotations

from collections.abc import Iterable

from podpatterns.ambassador.http1.fields import named
from podpatterns.ambassador.http1.grammar import TOKEN
from podpatterns.ambassador.http1.request import Request
from podpatterns.runtime.schema import Config, InvalidField


class OverrideConfig(Config, frozen=True, kw_only=True):
    """Lets a request choose its version by name, whatever the weights are, 0 included."""

    header: str
    """The field whose value is the name of a version in the split, such as `x-version`. Without it, or with a name
    that is not in the split, the weights decide. A version that was named and cannot be reached is answered 503: a
    tester is never sent elsewhere unawares. The field is passed on."""

    def __post_init__(self) -> None:
        """The name of a field."""
        check_field_name(self.header)


def check_field_name(name: str) -> None:
    """Raise InvalidField for `header`, unless this can be the name of a field."""
    if TOKEN.fullmatch(name.encode()) is None:
        raise InvalidField("header", f'"{name}" is not the name of a field')


class Override:
    """An override, compiled for the versions of one split."""

    __slots__ = ("_pattern", "_versions")

    def __init__(self, config: OverrideConfig, versions: Iterable[str]) -> None:
        self._pattern = named(config.header.lower().encode())
        self._versions = {version.encode(): version for version in versions}

    def version(self, request: Request) -> str | None:
        """The version that the request names; None if it names none. Of several fields the first that does counts."""
        for value in self._pattern.findall(request.head):
            version = self._versions.get(value.strip(b" \t"))
            if version is not None:
                return version
        return None
