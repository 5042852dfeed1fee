"""Rewriting: another path or Host for the upstream than the application has asked for.

Path and query are never touched (RFC 9110 7.7), unless this says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from podpatterns.ambassador.http1.fields import named
from podpatterns.ambassador.http1.grammar import HOST
from podpatterns.ambassador.http1.request import Request
from podpatterns.ambassador.policies import PolicyConfig, Site, Step
from podpatterns.ambassador.policies.target import (
    MAX_TARGET,
    Substitution,
    check_path,
    replace_prefix,
    target_of,
    with_query,
    with_target,
)
from podpatterns.runtime.regex import check_regex
from podpatterns.runtime.schema import InvalidField

if TYPE_CHECKING:
    from podpatterns.ambassador.exchange import Exchange
    from podpatterns.ambassador.match import MatchConfig

_HOST = named(b"host")


class RewriteConfig(PolicyConfig, frozen=True, kw_only=True):
    """What the upstream is asked for instead. The query stays."""

    path: str | None = None
    """The whole path. A query in it comes before the request's own. None: see `prefix` and `regex`."""

    prefix: str | None = None
    """What takes the place of the `prefix` that the route matches by: with `match: {prefix: /api}` and `/v2`,
    `/api/users` becomes `/v2/users`. `/` removes the prefix. None: nothing is replaced."""

    regex: str | None = None
    """A regular expression (Python's) for the whole path, as it is sent; a path that it does not match stays.
    None: nothing is replaced."""

    to: str | None = None
    """With `regex`: the new path, in which `\\1` or `\\g<name>` stand for a group."""

    host: str | None = None
    """The Host that the upstream is sent, with a port if it needs one. An upstream that has a `host` of its own has the
    last word. None: the client's."""

    def __post_init__(self) -> None:
        """One way to rewrite the path at most, each of them well-formed."""
        given = [name for name in ("path", "prefix", "regex") if getattr(self, name) is not None]
        if len(given) > 1:
            raise InvalidField(given[1], f"only one of path, prefix and regex can be given, not {' and '.join(given)}")
        if (self.regex is None) != (self.to is None):
            raise InvalidField("regex" if self.to is None else "to", "`regex` and `to` go together")
        if not given and self.host is None:
            raise ValueError("says nothing to rewrite: give path, prefix, regex or host")
        if self.path is not None:
            check_path(self.path, "path", query=True)
        if self.prefix is not None:
            check_path(self.prefix, "prefix")
        if self.regex is not None and self.to is not None:
            check_regex(self.regex, "regex")
            Substitution(self.regex, self.to, "to")
        if self.host is not None and HOST.fullmatch(self.host.encode()) is None:
            raise InvalidField("host", f'"{self.host}" is not a host; write "name" or "name:port"')

    def mistakes(self, match: MatchConfig) -> Iterator[InvalidField]:
        """See PolicyConfig."""
        if self.prefix is not None and match.prefix is None:
            yield InvalidField("prefix", "needs a prefix to replace: give the route `match: {prefix: …}`")

    def rewriter(self, matched: str | None) -> Callable[[bytes], bytes] | None:
        """From a target to the one that is sent; None if the path stays. `matched` is the route's own prefix."""
        change: Callable[[bytes], bytes | None]
        if self.path is not None:
            whole = self.path.encode()
            change = lambda _: whole  # noqa: E731 - one of three
        elif self.prefix is not None:
            old, new = (matched or "/").encode(), self.prefix.encode()
            change = lambda path: replace_prefix(path, old, new)  # noqa: E731
        elif self.regex is not None and self.to is not None:
            change = Substitution(self.regex, self.to, "to")
        else:
            return None

        def rewritten(target: bytes) -> bytes:
            path = target.partition(b"?")[0]
            # Everything but the `*` of OPTIONS is a path by now.
            new = change(path) if path.startswith(b"/") else None
            return target if new is None else with_query(new, target)

        return rewritten

    def compile(self, site: Site) -> Step:
        """See PolicyConfig."""
        rewritten = self.rewriter(site.match.prefix)
        line = None if self.host is None else b"\r\nHost: " + self.host.encode()

        def rewrite(exchange: Exchange) -> bool:
            head = exchange.head
            if line is not None:
                head = _HOST.sub(line, head, count=1)
            if rewritten is not None:
                target = rewritten(target_of(head))
                if len(target) > MAX_TARGET:
                    text = f"podpatterns: the rewritten target exceeds {MAX_TARGET} bytes\n"
                    exchange.answer(414, text, reason="target_too_long")
                    return False
                head = with_target(head, target)
            exchange.head = head
            return True

        return rewrite

    def describe(self, request: Request, match: MatchConfig) -> Iterator[str]:
        """See PolicyConfig."""
        rewritten = self.rewriter(match.prefix)
        target = request.target if rewritten is None else rewritten(request.target)
        if target != request.target:
            yield f"rewrites {request.target.decode('latin-1')} to {target.decode('latin-1')}"
        if self.host is not None:
            yield f"rewrites Host to {self.host}"
