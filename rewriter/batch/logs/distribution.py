"""Durations as a histogram of a fixed size whose buckets grow by 2 %: it can be added to another without any loss."""

from __future__ import annotations

import math

_GROWTH = 1.02
_STEP = 1 / math.log(_GROWTH)
_LEAST = 1e-9  # seconds; anything shorter counts as this
_BUCKETS = 2048  # reaches 1e-9 * 1.02 ** 2048, more than 10 years


class Distribution:
    """How durations (seconds) are spread. A percentile is at most 1 % off; ``most`` is exact."""

    __slots__ = ("_buckets", "count", "most")

    def __init__(self) -> None:
        self.count = 0
        self.most = 0.0
        self._buckets: dict[int, int] = {}

    def add(self, seconds: float, count: int = 1) -> None:
        """``count`` durations of so many seconds, finite and not negative."""
        bucket = 0 if seconds <= _LEAST else min(_BUCKETS, int(math.log(seconds / _LEAST) * _STEP) + 1)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self.count += count
        if seconds > self.most:
            self.most = seconds

    def merge(self, other: Distribution) -> None:
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self.count += other.count
        self.most = max(self.most, other.most)

    def percentile(self, share: float) -> float | None:
        """The duration that ``share`` (0 to 1) of all do not exceed, in seconds; None without any durations."""
        if not self.count:
            return None
        wanted = max(1, math.ceil(share * self.count))
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                middle = _LEAST * _GROWTH ** (bucket - 0.5) if bucket else 0.0
                return min(self.most, middle)
        return self.most

    def bins(self, most: int) -> list[tuple[float, float, int]]:
        """(low, high, count) of at most ``most`` adjoining bins of equal ratio, from the shortest duration to the
        longest; the lowest begins at 0 when it holds what is shorter than a nanosecond."""
        if not self._buckets:
            return []
        first, last = min(self._buckets), max(self._buckets)
        width = -(-(last - first + 1) // most)
        counts = [0] * -(-(last - first + 1) // width)
        for bucket, count in self._buckets.items():
            counts[(bucket - first) // width] += count
        edges = [_LEAST * _GROWTH ** (first - 1 + index * width) for index in range(len(counts) + 1)]
        if first == 0:
            edges[0] = 0.0
        return [(low, high, count) for low, high, count in zip(edges, edges[1:], counts, strict=False)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Distribution) and (self.count, self.most, self._buckets) == (
            other.count,
            other.most,
            other._buckets,
        )

    __hash__ = None  # type: ignore[assignment]
