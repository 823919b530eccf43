"""What may be concluded from a handful of timings."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from rewriter.records import Measurement, Speedup

CLOCK_NOISE = 0.0005  # seconds; below, the clock's noise is larger than what is compared
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


def total(entries: Sequence[Measurement]) -> Measurement:
    """What one run of each would take together, of the measurements of one entrant in several races.

    Its median is the sum of the medians. Runs are added in order of their length, slow ones to slow ones, so that an
    interval made of the sums is rather too wide than too narrow. Whoever failed or was stopped in one race did so
    altogether; ``stopped_after`` then says how long it took at least.
    """
    first, *others = entries
    if not others:
        return first
    failed = next((entry.error for entry in entries if entry.error is not None), None)
    if failed is not None:
        return Measurement(first.label, error=failed)
    rows = [entry.rows for entry in entries if entry.rows is not None]
    returned = sum(rows) if len(rows) == len(entries) else None
    if any(entry.stopped_after is not None for entry in entries):
        least = sum(entry.stopped_after or entry.median or 0.0 for entry in entries)
        return Measurement(first.label, stopped_after=least, rows=returned)
    runs = min(len(entry.seconds) for entry in entries)
    if not runs:
        return Measurement(first.label)
    runs -= (runs + 1) % 2  # an odd number of sums has a middle, which is the sum of the middles
    shares = [number / (runs - 1) for number in range(runs)] if runs > 1 else [0.5]
    return Measurement(
        first.label, tuple(sum(_quantile(entry.seconds, share) for entry in entries) for share in shares), rows=returned
    )


def _quantile(values: Sequence[float], share: float) -> float:
    """Between the two nearest, linearly (type 7 of Hyndman and Fan, 1996)."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = min(int(place), len(ordered) - 1)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def regression(
    original: Measurement, candidate: Measurement, *, tolerance: float = 1.0, noise: float = 0.0
) -> Speedup | None:
    """The speedup where the candidate is clearly slower than the original: the ratio is below ``tolerance``, the
    interval below 1, and more than ``noise`` seconds are lost. None where it is not.

    A candidate that was stopped is slower where the original took less than its limit; the ratio is an upper bound.
    """
    if original.median is None or original.stopped_after is not None or original.error or candidate.error:
        return None
    if candidate.stopped_after is not None:
        ratio = original.median / max(candidate.stopped_after, 1e-6)
        gain: Speedup | None = Speedup(ratio, 0.0, ratio)
        lost = candidate.stopped_after - original.median
    else:
        gain = speedup(original, candidate)
        lost = (candidate.median or 0.0) - original.median
    if gain is None or gain.high >= 1.0 or gain.ratio >= tolerance or lost <= noise:
        return None
    return gain


def _doubt(runs: int) -> float:
    """The factor by which an interval from so few runs is widened; it falls with their root, as errors do."""
    return math.exp(math.log(SINGLE_RUN) / math.sqrt(runs)) if runs < 3 else 1.0
