"""Hooks: functions of your own on the heads of requests and responses."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from podpatterns.ambassador.head import Head, RequestHead, ResponseHead
from podpatterns.ambassador.http1.request import Request
from podpatterns.ambassador.policies import Edit, PolicyConfig, Site, Step
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import FunctionRef

if TYPE_CHECKING:
    from podpatterns.ambassador.exchange import Exchange
    from podpatterns.ambassador.http1.response import Response
    from podpatterns.ambassador.match import MatchConfig


class HooksConfig(PolicyConfig, frozen=True, kw_only=True):
    """Calls Python functions, which see and change heads, or answer. They run in the event loop and must not block."""

    request: FunctionRef | None = None
    """`package.module:function`, called with each request's head (`method`, `path`, `query`, `host`, `headers`,
    `client`) before it is rewritten and sent; `request.answer(403, "…")` answers in the upstream's place. If it raises,
    the answer is 500. None: nothing is called."""

    response: FunctionRef | None = None
    """As `request`, with the head of each final response of the upstream (`status`, `headers`, `version`, `request`).
    None: nothing is called."""

    def __post_init__(self) -> None:
        """Something to call, which does not have to be awaited."""
        if self.request is None and self.response is None:
            raise ValueError("says nothing to call: give request or response")
        for name in ("request", "response"):
            function = getattr(self, name)
            if function is not None and inspect.iscoroutinefunction(function.target):
                raise InvalidField(name, f"{function} is async; a hook sees every request, and must not wait")

    def compile(self, site: Site) -> Step | None:
        """See PolicyConfig."""
        if self.request is None:
            return None
        call = guarded(self.request, site)

        def hook(exchange: Exchange) -> bool:
            head = _request(exchange)
            if not call(head):
                exchange.answer(500, FAILED, reason="hook_error")
            elif head.answered is not None:
                answer = head.answered
                exchange.answer(
                    answer.status, answer.text, reason="hook", fields=answer.fields, content_type=answer.content_type
                )
            else:
                exchange.head = head.raw
                return True
            return False

        return hook

    def edit(self, site: Site) -> Edit | None:
        """See PolicyConfig."""
        if self.response is None:
            return None
        call = guarded(self.response, site)

        def hook(exchange: Exchange, response: Response) -> None:
            version = exchange.upstream.name
            head = ResponseHead(response.head, status=response.status, version=version, request=_request(exchange))
            if not call(head):
                exchange.replace(500, FAILED, reason="hook_error")
            elif head.answered is not None:
                answer = head.answered
                exchange.replace(
                    answer.status, answer.text, reason="hook", fields=answer.fields, content_type=answer.content_type
                )
            else:
                response.head = head.raw
                response.verbatim = False

        return hook

    def describe(self, request: Request, match: MatchConfig) -> Iterator[str]:  # noqa: ARG002
        """See PolicyConfig."""
        for what in ("request", "response"):
            function = getattr(self, what)
            if function is not None:
                yield f"calls {function} with the {what}"


FAILED = "podpatterns: a hook has failed; the log says where (hook_error)\n"


def _request(exchange: Exchange) -> RequestHead:
    route = exchange.route
    return RequestHead(exchange.head, peer=exchange.client, listener=route.listener, route=route.name)


def guarded(function: FunctionRef, site: Site) -> Callable[[Head], bool]:
    """Calls the function; False, logged and counted, if it raises, or returns what nobody would look at."""
    target, events = function.target, site.events

    def call(head: Head) -> bool:
        try:
            returned: object = target(head)
            if returned is None:
                return True
            raise TypeError(f"{function} returned a {type(returned).__name__}; a hook changes what it is given")  # noqa: TRY301
        except Exception as error:  # noqa: BLE001 - a function of a user may raise anything
            last = traceback.extract_tb(error.__traceback__)[-1]
            events.hook_failed(site.listener, site.route, str(function), error, f"{last.filename}:{last.lineno}")
            return False

    return call
