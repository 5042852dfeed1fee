"""Whether a version does well enough beside the others, by what became of its requests. Pure.

What is plainly broken is bad at once. What the other versions suffer as well is not its fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf, log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podpatterns.ambassador.ramp import RampConfig

FEWEST = 10
"""Bad requests from which on a verdict may come before a step is over: a connection or two that broke are none."""

SURE = log(1e6)
"""How sure such an early verdict must be: each strikes a version that is as good as asked for once in a million
times."""

MARGIN = 2.0
"""How many times the others' bad share a version's own may be, while those do badly too, and it is not to blame."""

SLOW = 0.01
"""The share of requests that may take longer than the 99th percentile's limit; that is what such a limit says."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of requests, so far or since an earlier look."""

    requests: int = 0
    """Those that were answered, by the version or in its place."""

    failures: int = 0
    """Those of them that were answered with 500 or more, or incompletely."""

    slow: int = 0
    """Those that took longer than the limit, answered or not."""

    gone: int = 0
    """Those that were not answered because the client left. Whether they would have failed nobody knows."""

    def __sub__(self, earlier: Counts) -> Counts:
        return Counts(
            self.requests - earlier.requests,
            self.failures - earlier.failures,
            self.slow - earlier.slow,
            self.gone - earlier.gone,
        )

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.requests + other.requests,
            self.failures + other.failures,
            self.slow + other.slow,
            self.gone + other.gone,
        )

    def of(self, cause: str) -> tuple[int, int]:
        """How many were bad in one respect, and of how many."""
        return (self.failures, self.requests) if cause == "success" else (self.slow, self.requests + self.gone)


class Verdict(Enum):
    """What the counts of a step say."""

    GOOD = "good"
    FEW = "few"
    SHARED = "shared"
    """It does badly, and so do the others: whatever both depend on is to blame."""
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict, what it is about (`success`, `p99`, `min_requests`), and the numbers for people."""

    verdict: Verdict
    cause: str
    text: str


def judge(config: RampConfig, new: Counts, old: Counts, *, due: bool) -> Finding:
    """What the counts of one step say of a version, beside the others in the same time.

    Before the step is `due`, only what is no accident is bad: who looks all the time, and takes the first bad look for
    the truth, sends most versions back.
    """
    shared = None
    limits = {"success": 1 - config.success}
    if config.p99 is not None:
        limits["p99"] = SLOW
    for cause, allowed in limits.items():
        bad, requests = new.of(cause)
        enough = due and requests >= config.min_requests
        if not _exceeds(bad, requests, allowed) or not (enough or _surely(bad, requests, allowed)):
            continue
        text = _numbers(config, cause, new)
        bad_old, requests_old = old.of(cause)
        if requests_old >= FEWEST and _exceeds(bad_old, requests_old, allowed):
            text += f"; the others: {_numbers(config, cause, old)}"
            if bad / requests <= MARGIN * bad_old / requests_old:
                shared = Finding(Verdict.SHARED, cause, text)
                continue
        return Finding(Verdict.BAD, cause, text)
    if shared is not None:
        return shared
    if new.requests < config.min_requests:
        gone = f"; {new.gone} clients left without an answer" if new.gone else ""
        return Finding(
            Verdict.FEW,
            "min_requests",
            f"{new.requests} requests so far, {config.min_requests} are needed to judge{gone}",
        )
    return Finding(Verdict.GOOD, "", "; ".join(_numbers(config, cause, new) for cause in limits))


def _numbers(config: RampConfig, cause: str, counts: Counts) -> str:
    bad, requests = counts.of(cause)
    if cause == "success":
        return f"{1 - bad / requests:.2%} of {requests} requests succeeded, {config.success} must"
    return f"{bad / requests:.2%} of {requests} requests took longer than {config.p99}, {SLOW:.0%} may"


def _exceeds(bad: int, requests: int, allowed: float) -> bool:
    # The tolerance is for floats alone: 1 - 0.9 is a little less than 0.1.
    return bad > (allowed + 1e-9) * requests


def _surely(bad: int, requests: int, allowed: float) -> bool:
    """Whether so many bad ones are no accident, where `allowed` is their share in the long run.

    Chernoff's bound: with q = bad / requests, chance has at most exp(-requests · KL(q ‖ allowed)) for it.
    """
    if bad < FEWEST:
        return False
    q = bad / requests
    divergence = q * log(q / allowed) if allowed > 0 else inf
    if q < 1:
        divergence += (1 - q) * log((1 - q) / (1 - allowed))
    return requests * divergence > SURE
