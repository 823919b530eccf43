"""Rate limits by key: a sliding window of one minute in this process (draft-ietf-httpapi-ratelimit-headers-10)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from rewriter.errors import TooManyRequests

WINDOW = 60  # seconds


@dataclass(frozen=True)
class Allowance:
    """``left`` requests of ``quota`` for the next ``reset`` seconds; ``allowed``: this one too."""

    quota: int
    left: int
    reset: int
    allowed: bool

    def check(self) -> None:
        """Raises TooManyRequests."""
        if not self.allowed:
            error = TooManyRequests(f"more than {self.quota} requests in a minute", hint="wait, then go on slower")
            error.wait = float(self.reset)
            raise error

    @property
    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Policy": f'"key";q={self.quota};w={WINDOW}',
            "RateLimit": f'"key";r={self.left};t={self.reset}',
        }


class Limiter:
    """``rate``: requests a minute for keys that have no rate of their own."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._strategy = SlidingWindowCounterRateLimiter(MemoryStorage())

    def take(self, who: str, rate: int | None) -> Allowance:
        """Count one request."""
        item = RateLimitItemPerMinute(rate or self._rate)
        allowed = self._strategy.hit(item, who)
        stats = self._strategy.get_window_stats(item, who)
        reset = max(1, math.ceil(stats.reset_time - time.time()))
        return Allowance(item.amount, max(0, stats.remaining), reset, allowed)
