"""What a rewrite would save, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rewriter.batch.reporting.record import IntervalModel, SavingModel
from rewriter.report.model import SpeedupModel

DAY = 86_400.0
BINS = 2048  # all that a distribution has
LEAST_SPAN = 600.0  # seconds; what a few minutes show is no day's work


@dataclass(frozen=True)
class Times:
    """How long a group's calls took: ``seconds`` of all ``calls``; ``bins`` holds those that were logged one by one."""

    seconds: float
    calls: int
    bins: Sequence[tuple[float, float, int]] = ()


def saving(times: Times, speedup: SpeedupModel, rewrite_seconds: float | None, span: float | None) -> SavingModel:
    """What the rewrite would have saved of a group's time in a log of ``span`` seconds (None: unknown).

    A ratio of r saves the share 1 - 1/r, if it is the same for every call; the interval is that of the measured ratio.
    A quick call may have values for which there is less to gain. So for the low end no call of the rewrite takes less
    than ``rewrite_seconds``, what it took in the race: it is negative where that would cost more than it saves. Of an
    original that was stopped only a lower bound of the ratio is known: then all of the time may be saved, and no more.
    """
    low, high = min(speedup.low, speedup.ratio), max(speedup.high, speedup.ratio)
    seconds = times.seconds
    log = IntervalModel(
        low=min(seconds * _share(low), _with_a_floor(times, low, rewrite_seconds or 0.0)),
        expected=seconds * _share(speedup.ratio),
        high=seconds if speedup.at_least else seconds * _share(high),
    )
    return SavingModel(log=log, day=per_day(log, span), at_least=speedup.at_least)


def _with_a_floor(times: Times, ratio: float, least: float) -> float:
    """Seconds saved when each call is ``ratio`` times as fast, but takes ``least`` seconds at least."""
    saved = 0.0
    calls, seconds = times.calls, times.seconds
    for low, high, count in times.bins:
        each = math.sqrt(low * high)
        saved += count * (each - max(each / max(ratio, 1e-9), least))
        calls, seconds = calls - count, seconds - count * each
    if calls > 0:  # summed up in the log, as pg_stat_statements does
        each = max(0.0, seconds) / calls
        saved += calls * (each - max(each / max(ratio, 1e-9), least))
    return saved


def per_day(log: IntervalModel, span: float | None) -> IntervalModel | None:
    """The same for a day, when the log's span allows to say it."""
    if span is None or span < LEAST_SPAN:
        return None
    factor = DAY / span
    return IntervalModel(low=log.low * factor, expected=log.expected * factor, high=log.high * factor)


def total(savings: Iterable[SavingModel]) -> SavingModel | None:
    """The sum of savings in one log; None of none. Sums of bounds: the true interval is narrower."""
    parts = list(savings)
    if not parts:
        return None
    days = [part.day for part in parts if part.day is not None]
    return SavingModel(
        log=_sum([part.log for part in parts]),
        day=_sum(days) if len(days) == len(parts) else None,
        at_least=any(part.at_least for part in parts),
    )


def _share(ratio: float) -> float:
    return 1.0 - 1.0 / max(ratio, 1e-9)


def _sum(parts: list[IntervalModel]) -> IntervalModel:
    return IntervalModel(
        low=sum(part.low for part in parts),
        expected=sum(part.expected for part in parts),
        high=sum(part.high for part in parts),
    )
