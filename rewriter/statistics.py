"""What may be concluded from a handful of timings."""

from __future__ import annotations

import random
from collections.abc import Sequence

from rewriter.records import Measurement, Speedup

RESAMPLES = 400
CONFIDENCE = 0.9


def median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def speedup(original: Measurement, candidate: Measurement) -> Speedup | None:
    """How many times faster the candidate is, as a ratio of medians with a 90 % bootstrap interval.

    An original that was stopped gives a lower bound (``at_least``). None when the candidate did not finish or the
    original gave no time at all. With fewer than three runs of either there is no distribution to resample: the
    interval is then the range of all ratios, widened by a tenth. (Percentile bootstrap: Efron and Tibshirani, 1993.)
    """
    if not candidate.seconds or candidate.error is not None or candidate.stopped_after is not None:
        return None
    own = [max(seconds, 1e-6) for seconds in candidate.seconds]
    if original.stopped_after is not None:
        limit = original.stopped_after
        return Speedup(limit / median(own), limit / max(own), limit / min(own), at_least=True)
    if not original.seconds or original.error is not None:
        return None
    base = [max(seconds, 1e-6) for seconds in original.seconds]
    ratio = median(base) / median(own)
    if len(base) < 3 or len(own) < 3:
        return Speedup(ratio, min(base) / max(own) / 1.1, max(base) / min(own) * 1.1)
    source = random.Random(0)  # noqa: S311 - resampling, and the same timings must give the same interval
    ratios = sorted(
        median(source.choices(base, k=len(base))) / median(source.choices(own, k=len(own))) for _ in range(RESAMPLES)
    )
    tail = (1.0 - CONFIDENCE) / 2
    return Speedup(ratio, ratios[int(tail * RESAMPLES)], ratios[int((1 - tail) * RESAMPLES) - 1])
