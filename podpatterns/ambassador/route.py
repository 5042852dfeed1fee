"""Routes: which requests, and what becomes of them. The first route of a listener that matches counts.

One piece, though long: more than half are the settings of a route, with what each of them means.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from random import random
from typing import TYPE_CHECKING, Final

import msgspec

from podpatterns.ambassador.events import AmbassadorEvents, Tally
from podpatterns.ambassador.exchange import Exchange
from podpatterns.ambassador.handler import Handler, Target
from podpatterns.ambassador.http1.request import Request
from podpatterns.ambassador.match import MatchConfig
from podpatterns.ambassador.policies import PolicyConfig, Site, Step
from podpatterns.ambassador.policies.faults import FaultsConfig
from podpatterns.ambassador.policies.headers import HeadersConfig
from podpatterns.ambassador.policies.hooks import HooksConfig
from podpatterns.ambassador.policies.mirror import MirrorConfig
from podpatterns.ambassador.policies.override import OverrideConfig
from podpatterns.ambassador.policies.rate_limit import Limiter, RateLimitConfig
from podpatterns.ambassador.policies.redirect import RedirectConfig
from podpatterns.ambassador.policies.respond import RespondConfig
from podpatterns.ambassador.policies.rewrite import RewriteConfig
from podpatterns.ambassador.policies.sticky import StickyConfig
from podpatterns.ambassador.ramp import RampConfig
from podpatterns.ambassador.retry import Retry, RetryConfig
from podpatterns.ambassador.rollout import Rollout
from podpatterns.ambassador.split import Split
from podpatterns.ambassador.steering import Steering
from podpatterns.ambassador.upstreams import Upstream
from podpatterns.runtime.decode import suggest
from podpatterns.runtime.schema import Config, InvalidField, InvalidFields
from podpatterns.runtime.units import Duration

if TYPE_CHECKING:
    from podpatterns.ambassador.downstream import Downstream


class RouteConfig(Config, frozen=True, kw_only=True):
    """Where the requests go that match: to one upstream, a share of them to each of several versions, or nowhere."""

    name: str | None = None
    """What metrics, logs and the admin endpoint call it. None: by its place, `route-0` for the first."""

    match: MatchConfig = msgspec.field(default_factory=MatchConfig)
    """The requests it is for. Empty: every request."""

    to: str | None = None
    """The one upstream. None: see `split`."""

    split: dict[str, int] | None = None
    """Upstreams with weights: whole numbers of any sum, such as `{stable: 90, test: 10}`; 0 gets nothing, until its
    weight is changed while running. None: see `to`."""

    redirect: RedirectConfig | None = None
    """Sends the client elsewhere, in the place of `to` or `split`. None: an upstream is asked."""

    respond: RespondConfig | None = None
    """A fixed answer, in the place of `to` or `split`. None: an upstream is asked."""

    rate_limit: RateLimitConfig | None = None
    """How many requests may come in a time. None: as many as do."""

    faults: FaultsConfig | None = None
    """Breaks a share of the requests on purpose. None: none."""

    hooks: HooksConfig | None = None
    """Functions of your own that see and change requests and responses. None: none, and nothing is looked at."""

    rewrite: RewriteConfig | None = None
    """Another path or Host for the upstream. None: both stay as they are."""

    headers: HeadersConfig | None = None
    """Header fields that are set, added or removed. None: they stay as they are."""

    mirror: MirrorConfig | None = None
    """Another upstream that gets a copy of the requests, as they are sent. None: none."""

    override: OverrideConfig | None = None
    """Lets a tester choose the version by a field of the request. None: the split alone decides."""

    sticky: StickyConfig | None = None
    """Keeps a client on the version it was given first. None: each request goes by the weights anew."""

    ramp: RampConfig | None = None
    """Gives a new version a growing share, and takes it back if it does badly. None: the weights stay as they are."""

    retry: RetryConfig = msgspec.field(default_factory=RetryConfig)
    """When a request is sent again."""

    timeout: Duration | None = None
    """How long a request may take in all, from the end of its head to the end of its response, retries included; then
    504, or a reset if the response has begun. None: as long as something moves, for downloads and streams have no
    end that could be foreseen."""

    first_byte: Duration | None = None
    """How long the upstream may think about requests of this route. None: what the upstream says."""

    def __post_init__(self) -> None:
        """Exactly one place to go, weights that can be picked from, and policies that have something to work on."""
        self._check_ends()
        for name in ("timeout", "first_byte"):
            if getattr(self, name) is not None and not getattr(self, name):
                raise InvalidField(name, "must be longer than 0s")
        if self.split is not None:
            try:
                Split(self.split)
            except ValueError as error:
                raise InvalidField("split", str(error)) from None
            self._check_ramp(self.split)
        self._check_policies()
        if self.split is not None:
            return
        for name in ("override", "sticky", "ramp"):
            if getattr(self, name) is not None:
                raise InvalidField(name, "needs a split: with `to` there is one version, and nothing to choose")

    def _check_ends(self) -> None:
        ends = [name for name in ("to", "split", *ANSWERS) if getattr(self, name) is not None]
        if not ends:
            raise ValueError('a route needs either "to: NAME" or "split: {NAME: WEIGHT, ...}"')
        if len(ends) > 1:
            raise InvalidField(ends[1], f"only one of to, split, redirect and respond can be given, not {ends[0]} too")

    def _check_policies(self) -> None:
        mistakes = [
            InvalidField(f"{name}.{mistake.field}", str(mistake))
            for name, policy in self.policies
            for mistake in policy.mistakes(self.match)
        ]
        if not self.weights:
            mistakes += [
                InvalidField(name, "needs an upstream, and this route asks none")
                for name in UPSTREAM_ONLY
                if getattr(self, name) is not None
            ]
        if mistakes:
            raise InvalidFields(mistakes)

    def _check_ramp(self, split: Mapping[str, int]) -> None:
        """It is clear which version is ramped, and a version that was taken back has nobody stuck to it."""
        if self.ramp is None:
            return
        try:
            self.ramp.version_of(split)
        except InvalidField as error:
            raise InvalidField(f"ramp.{error.field}", str(error)) from None
        if self.sticky is not None and self.sticky.drained == "keep":
            raise InvalidField(
                "sticky.drained", '"keep" would leave clients on a version that the ramp has taken back; use "migrate"'
            )

    @property
    def weights(self) -> Mapping[str, int]:
        """Upstreams with weights, in either form; none for a route that answers itself."""
        if self.split is not None:
            return self.split
        return {self.to: 1} if self.to is not None else {}

    @property
    def policies(self) -> Iterator[tuple[str, PolicyConfig]]:
        """What is configured beside the choice of a version, in the order in which it sees a request."""
        for name in POLICIES:
            policy: PolicyConfig | None = getattr(self, name)
            if policy is not None:
                yield name, policy

    def describe(self, request: Request) -> Iterator[str]:
        """What the policies would do with a request, a sentence for each thing."""
        for _, policy in self.policies:
            yield from policy.describe(request, self.match)

    def mistakes(self, upstreams: Collection[str]) -> Iterator[InvalidField]:
        """Names in it that are not those of upstreams; where they stand."""
        for name in self.weights:
            if name not in upstreams:
                place = "to" if self.split is None else f"split.{name}"
                yield InvalidField(place, f'unknown upstream "{name}"{suggest(name, upstreams)}')
        if self.mirror is not None:
            for mistake in self.mirror.unknown(upstreams):
                yield InvalidField(f"mirror.{mistake.field}", str(mistake))


POLICIES: Final = ("rate_limit", "faults", "redirect", "respond", "hooks", "rewrite", "headers", "mirror")
"""The fields of a route that are policies, in the order in which they see a request."""

ANSWERS: Final = ("redirect", "respond")
"""Policies that take the place of an upstream."""

UPSTREAM_ONLY: Final = ("hooks", "rewrite", "headers", "mirror", "first_byte")
"""What makes no sense without one."""


class Route(Handler):
    """A route at work. `before` are the steps of its listener, which come first."""

    def __init__(  # noqa: PLR0917 - what it is called, what it does, and what it works with
        self,
        name: str,
        listener: str,
        config: RouteConfig,
        upstreams: Mapping[str, Upstream],
        events: AmbassadorEvents,
        before: tuple[Step, ...] = (),
    ) -> None:
        super().__init__(name, listener, events)
        self.config = config
        self.retry = Retry(config.retry)
        if config.timeout is not None:
            self.total = float(config.timeout)
        self.first_byte = None if config.first_byte is None else float(config.first_byte)
        self.split = Split(config.weights) if config.weights else Split.nothing()
        self.targets = {version: Target(upstreams[version], self._tally(version)) for version in config.weights}
        self.undisturbed = True
        """False once a version was taken out because it could not be reached: then the shares are not the weights."""
        self._single = next(iter(self.targets.values())) if len(self.targets) == 1 else None
        self.rollout = Rollout(self, config.ramp) if config.ramp is not None else None
        if self.rollout is not None:
            self.split = Split(self.rollout.weights or config.weights)
        site = Site(listener, name, events, upstreams, config.match)
        self.steps = (*before, *self._compile(site))
        edits = [policy.edit(site) for _, policy in config.policies]
        self.edits = tuple(edit for edit in edits if edit is not None)
        events.weights(listener, name, self.split.weights)

    def _tally(self, version: str) -> Tally:
        return self.events.tally(self.listener, self.name, version)

    def _compile(self, site: Site) -> Iterator[Step]:
        """What is done with each request before a version is drawn."""
        for _, policy in self.config.policies:
            step = policy.compile(site)
            if step is not None:
                yield step
        if self.config.override is not None or self.config.sticky is not None:
            yield Steering(self)

    def inherit(self, old: Route) -> None:
        """Go on with the counts of the route that this one replaces, unless the weights have changed.

        With a ramp that is the same, and has the same versions, go on where it stands; with a rate limit that is the
        same, with what is left of it.
        """
        for step in self.steps:
            if isinstance(step, Limiter):
                step.inherit(old.steps)
        if (
            self.rollout is not None
            and old.rollout is not None
            and (old.config.ramp, old.config.split) == (self.config.ramp, self.config.split)
        ):
            self.rollout.ramp = old.rollout.ramp
            self.split = old.split
            self.events.weights(self.listener, self.name, self.split.weights)
        if old.split.weights == self.split.weights:
            self.undisturbed = old.undisturbed
            for version, target in old.targets.items():
                self.targets[version].picks = target.picks

    def reweigh(self, weights: Mapping[str, int]) -> None:
        """Change weights; those that are not named stay. Raises ValueError, and nothing has changed."""
        unknown = next((name for name in weights if name not in self.targets), None)
        if unknown is not None:
            raise ValueError(f'unknown version "{unknown}"{suggest(unknown, self.targets)}')
        self.put({**self.split.weights, **weights})
        self.events.weights_changed(self.listener, self.name, self.split.weights)
        if self.rollout is not None:
            self.rollout.overruled()

    def put(self, weights: Mapping[str, int]) -> None:
        """Put weights in force, from the next request on. Raises ValueError, and nothing has changed."""
        self.split = Split(weights)
        self.undisturbed = True
        for target in self.targets.values():
            target.picks = 0
        self.events.weights(self.listener, self.name, weights)

    def handle(self, client: Downstream, request: Request, payload: bytes, *, complete: bool) -> None:
        """See Handler."""
        client.exchange = exchange = Exchange(client, request, self)
        for step in self.steps:
            if not step(exchange):
                return
        exchange.begin(exchange.target or self._single or self.draw(), payload, complete=complete)

    def draw(self) -> Target:
        """A version by its weight, which is counted; another one if that cannot be reached."""
        target = self.targets[self.split.pick(random()) or ""]  # noqa: S311 - a share, not a secret
        target.picks += 1
        return target if target.upstream.available else self._instead(target)

    def _instead(self, unavailable: Target) -> Target:
        """Another version in the place of one that cannot be reached; the ratios of the others stay as they are."""
        self.undisturbed = False
        name = self.split.pick(random(), self.available())  # noqa: S311 - a share, not a secret
        return unavailable if name is None else self.targets[name]

    def another(self, exchange: Exchange) -> Target | None:
        """See Handler; the ratios of the versions that are left stay as they are."""
        if exchange.pinned or self._single is not None:
            return None
        self.undisturbed = False
        left = [name for name in self.available() if self.targets[name] is not exchange.target]
        name = self.split.pick(random(), left)  # noqa: S311 - a share, not a secret
        return None if name is None else self.targets[name]

    def available(self) -> list[str]:
        """The versions that can be reached, as far as is known."""
        return [name for name, target in self.targets.items() if target.upstream.available]
