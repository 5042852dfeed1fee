"""Back-off with full jitter: how long to wait before the next try. Pure: the random number is an argument.

Source: M. Brooker, "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015): a delay drawn evenly from
[0, min(cap, first · 2ⁿ)] spreads retrying clients best.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """`first` and `cap` in seconds."""

    first: float = 0.2
    cap: float = 30.0

    def delay(self, attempt: int, u: float) -> float:
        """Seconds to wait after failed attempt number `attempt` (0, 1, …), with `u` drawn evenly from [0, 1)."""
        # 2**attempt overflows no float but grows for ever; 64 doublings pass any cap.
        return u * min(self.cap, self.first * 2.0 ** min(attempt, 64))
