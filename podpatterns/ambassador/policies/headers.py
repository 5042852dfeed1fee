"""Header fields: set, added or removed on the way to the upstream and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from podpatterns.ambassador.http1.request import Request
from podpatterns.ambassador.policies import Edit, PolicyConfig, Site, Step
from podpatterns.ambassador.policies.fields import check_name, lines
from podpatterns.ambassador.policies.variables import REQUEST, RESPONSE, Variable, check_text, compile_text
from podpatterns.runtime.schema import Config, InvalidField, InvalidFields, Items

if TYPE_CHECKING:
    from podpatterns.ambassador.exchange import Exchange
    from podpatterns.ambassador.http1.response import Response
    from podpatterns.ambassador.match import MatchConfig


class FieldsConfig(Config, frozen=True, kw_only=True):
    """What is done with header fields. Names in any case."""

    set: dict[str, str] = {}
    """Fields that there is one of, with this value, whatever there was before."""

    add: dict[str, str] = {}
    """Fields that are put behind those that are there already."""

    remove: Items[str] = ()
    """Names of fields that are taken out."""

    def __post_init__(self) -> None:
        """Names of fields that are neither framing nor concern one connection alone."""
        names = [(name, f"{kind}.{name}") for kind in ("set", "add") for name in getattr(self, kind)]
        names += [(name, f"remove[{index}]") for index, name in enumerate(self.remove)]
        mistakes = []
        for name, place in names:
            try:
                check_name(name, place)
            except InvalidField as error:
                mistakes.append(error)
        if mistakes:
            raise InvalidFields(mistakes)

    def __bool__(self) -> bool:
        """True if there is anything to do."""
        return bool(self.set or self.add or self.remove)

    def mistakes(self, known: Mapping[str, Variable]) -> Iterator[InvalidField]:
        """Values that cannot be, or that ask for what is not known."""
        for kind in ("set", "add"):
            for name, value in getattr(self, kind).items():
                try:
                    check_text(value, known, f"{kind}.{name}")
                except InvalidField as error:
                    yield error

    def editor(self, known: Mapping[str, Variable]) -> Callable[[bytes, Exchange], bytes]:
        """From a head to the one that is sent; first line and all other fields stay as they are."""
        gone = [*self.remove, *self.set]
        pattern = lines(gone) if gone else None
        added = compile_text(
            "".join(f"{name}: {value}\r\n" for each in (self.set, self.add) for name, value in each.items()), known
        )

        def edit(head: bytes, exchange: Exchange) -> bytes:
            if pattern is not None:
                head = pattern.sub(b"", head)
            return head + (added if isinstance(added, bytes) else added(exchange))

        return edit

    def describe(self, what: str) -> Iterator[str]:
        """What is done, for people."""
        for name, value in self.set.items():
            yield f"sets {name}: {value} in the {what}"
        for name, value in self.add.items():
            yield f"adds {name}: {value} to the {what}"
        for name in self.remove:
            yield f"removes {name} from the {what}"


class HeadersConfig(PolicyConfig, frozen=True, kw_only=True):
    """Changes header fields.

    A value may contain `{client}`, `{host}`, `{method}`, `{path}`, `{listener}` and `{route}`, in a response
    `{version}` too; `{{` stands for a brace.
    """

    request: FieldsConfig = msgspec.field(default_factory=FieldsConfig)
    """On the way to the upstream, such as `{set: {x-forwarded-for: "{client}"}, remove: [x-debug]}`."""

    response: FieldsConfig = msgspec.field(default_factory=FieldsConfig)
    """On the way back, such as `{set: {x-version: "{version}"}}`. An answer that does not come from the upstream stays
    as it is."""

    def __post_init__(self) -> None:
        """Values that can be filled in, and something to do."""
        mistakes = [
            InvalidField(f"{what}.{mistake.field}", str(mistake))
            for what, fields, known in (("request", self.request, REQUEST), ("response", self.response, RESPONSE))
            for mistake in fields.mistakes(known)
        ]
        if mistakes:
            raise InvalidFields(mistakes)
        if not self.request and not self.response:
            raise ValueError("says nothing to change: give request or response")

    def compile(self, site: Site) -> Step | None:  # noqa: ARG002 - the signature of all
        """See PolicyConfig."""
        if not self.request:
            return None
        edited = self.request.editor(REQUEST)

        def edit(exchange: Exchange) -> bool:
            exchange.head = edited(exchange.head, exchange)
            return True

        return edit

    def edit(self, site: Site) -> Edit | None:  # noqa: ARG002 - the signature of all
        """See PolicyConfig."""
        if not self.response:
            return None
        edited = self.response.editor(RESPONSE)

        def edit(exchange: Exchange, response: Response) -> None:
            response.head = edited(response.head, exchange)
            response.verbatim = False

        return edit

    def describe(self, request: Request, match: MatchConfig) -> Iterator[str]:  # noqa: ARG002
        """See PolicyConfig."""
        yield from self.request.describe("request")
        yield from self.response.describe("response")
