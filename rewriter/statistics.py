"""What may be concluded from a handful of timings."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from rewriter.records import Measurement, Speedup

RESAMPLES = 400
CONFIDENCE = 0.9
SINGLE_RUN = 1.4  # a single run of a query on a shared machine is taken to be right within this factor


def median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def speedup(original: Measurement, candidate: Measurement) -> Speedup | None:
    """How many times faster the candidate is, as a ratio of medians with a 90 % bootstrap interval.

    An original that was stopped gives a lower bound (``at_least``; ``high`` is then the bound from the candidate's best
    run, not a limit to the true ratio). None when the candidate did not finish or the original gave no time at all.
    With fewer than three runs of either there is no distribution to resample: the interval is then the range of all
    ratios, widened by what single runs are known to scatter. (Percentile bootstrap: Efron and Tibshirani, 1993.)
    """
    if not candidate.seconds or candidate.error is not None or candidate.stopped_after is not None:
        return None
    own = [max(seconds, 1e-6) for seconds in candidate.seconds]
    if original.stopped_after is not None:
        limit = original.stopped_after
        doubt = _doubt(len(own))
        return Speedup(limit / median(own), limit / max(own) / doubt, limit / min(own) * doubt, at_least=True)
    if not original.seconds or original.error is not None:
        return None
    base = [max(seconds, 1e-6) for seconds in original.seconds]
    ratio = median(base) / median(own)
    if len(base) < 3 or len(own) < 3:
        doubt = _doubt(min(len(base), len(own)))
        return Speedup(ratio, min(base) / max(own) / doubt, max(base) / min(own) * doubt)
    source = random.Random(0)  # noqa: S311 - resampling, and the same timings must give the same interval
    ratios = sorted(
        median(source.choices(base, k=len(base))) / median(source.choices(own, k=len(own))) for _ in range(RESAMPLES)
    )
    tail = (1.0 - CONFIDENCE) / 2
    return Speedup(ratio, ratios[int(tail * RESAMPLES)], ratios[int((1 - tail) * RESAMPLES) - 1])


def _doubt(runs: int) -> float:
    """The factor by which an interval from so few runs is widened; it falls with their root, as errors do."""
    return math.exp(math.log(SINGLE_RUN) / math.sqrt(runs)) if runs < 3 else 1.0
