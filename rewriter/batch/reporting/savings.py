"""What a rewrite would save, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable

from rewriter.batch.reporting.record import IntervalModel, SavingModel
from rewriter.report.model import SpeedupModel

DAY = 86_400.0
LEAST_SPAN = 600.0  # seconds; what a few minutes show is no day's work


def saving(seconds: float, speedup: SpeedupModel, span: float | None) -> SavingModel:
    """Of ``seconds`` that a group took in a log of ``span`` seconds (None: unknown), what the rewrite would have saved.

    A ratio of r saves the share 1 - 1/r, at each end of its confidence interval as in its middle; so the interval is
    that of the measured ratio alone. It does not tell how calls differ from day to day, nor how the ratio differs from
    one set of values to another. The low end is negative where the rewrite may be slower. Of an original that was
    stopped only a lower bound of the ratio is known: then all of the time may be saved, and no more.
    """
    low, high = min(speedup.low, speedup.ratio), max(speedup.high, speedup.ratio)
    log = IntervalModel(
        low=seconds * _share(low),
        expected=seconds * _share(speedup.ratio),
        high=seconds if speedup.at_least else seconds * _share(high),
    )
    return SavingModel(log=log, day=per_day(log, span), at_least=speedup.at_least)


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
