"""Timed runs as dots on one common scale; places are percent of the plot's width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rewriter.report.model import ReportModel
from rewriter.report.units import duration

WIDE = 12.0  # times between the shortest and the longest run from which on the scale is logarithmic
EDGE = 2.0  # percent left free on both sides
TICKS = 6


@dataclass(frozen=True)
class Lane:
    """One entrant. ``role``: original, chosen or other; ``stopped``: where its runs were cut off."""

    label: str
    role: str
    dots: tuple[float, ...]
    median: float | None
    stopped: float | None
    text: str
    runs: int


@dataclass(frozen=True)
class Plot:
    lanes: tuple[Lane, ...]
    ticks: tuple[tuple[float, str], ...]
    logarithmic: bool


def plot(report: ReportModel) -> Plot | None:
    """None when nothing was timed."""
    values = [value for one in report.measurements for value in (*one.seconds, one.stopped_after) if value]
    if not values:
        return None
    low, high = min(values), max(values)
    logarithmic = high > WIDE * low
    if logarithmic:
        low, high = low / 1.3, high * 1.3
    else:
        low, high = 0.0, high * 1.05

    def place(seconds: float) -> float:
        if logarithmic:
            share = math.log(max(seconds, low) / low) / math.log(high / low)
        else:
            share = (seconds - low) / (high - low)
        return round(EDGE + share * (100 - 2 * EDGE), 2)

    chosen = report.chosen.id if report.chosen is not None else None
    order = sorted(report.measurements, key=lambda one: (one.label != "original", one.label != chosen))
    lanes = [
        Lane(
            label="original" if one.label == "original" else one.label,
            role="original" if one.label == "original" else "chosen" if one.label == chosen else "other",
            dots=tuple(place(value) for value in one.seconds),
            median=place(one.median) if one.median is not None else None,
            stopped=place(one.stopped_after) if one.stopped_after is not None else None,
            text=one.error or (f"> {duration(one.stopped_after)}" if one.stopped_after else duration(one.median)),
            runs=len(one.seconds),
        )
        for one in order
    ]
    marks = _decades(low, high) if logarithmic else _steps(high)
    return Plot(tuple(lanes), tuple((place(mark), _mark(mark)) for mark in marks), logarithmic)


def _decades(low: float, high: float) -> Sequence[float]:
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    marks = [10.0**power for power in range(first, last + 1)]
    if len(marks) <= 2:
        marks = [m * 10.0**p for p in range(first - 1, last + 1) for m in (1, 2, 5) if low <= m * 10.0**p <= high]
    while len(marks) > TICKS:
        marks = marks[::2]
    return marks


def _steps(high: float) -> Sequence[float]:
    rough = high / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    return [step * number for number in range(int(high / step) + 1)]


def _mark(seconds: float) -> str:
    """``100 ms``, ``2 s``: a round number without digits that say nothing."""
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= size * 0.9999:
            return f"{seconds / size:.3g} {unit}"
    return "0"
