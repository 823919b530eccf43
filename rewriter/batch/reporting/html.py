"""A run as one self-contained HTML file, in the look of the single report: no script, nothing loaded from anywhere,
everything escaped. Plots are SVG made here."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import parse_one
from sqlglot.errors import SqlglotError

from rewriter.batch.reporting import words
from rewriter.batch.reporting.record import BatchModel, BinModel, GroupModel
from rewriter.errors import QueryRejected
from rewriter.parse.guard import allow_recursion, check_text
from rewriter.records import Plan
from rewriter.report.html import environment
from rewriter.report.model import MeasurementModel, PlanModel
from rewriter.report.text import facts, line_diff
from rewriter.report.units import count, duration, ratio

_HEIGHT = 100.0  # of a histogram, in its own units
_environment = environment("rewriter.batch.reporting")
_environment.filters |= {"duration": duration, "ratio": ratio, "flat": words.flat, "number": lambda value: f"{value:,}"}


@dataclass(frozen=True)
class _Column:
    """A bin of a histogram; ``x``, ``width``, ``y`` and ``height`` in percent."""

    x: float
    width: float
    y: float
    height: float
    text: str


@dataclass(frozen=True)
class _Bar:
    label: str
    won: bool
    width: float
    dots: tuple[float, ...]
    text: str


@dataclass(frozen=True)
class _Node:
    operator: str
    facts: list[str]
    children: list[_Node]


@dataclass(frozen=True)
class _View:
    """One group as the template wants it."""

    group: GroupModel
    bar: float
    outcome: str
    gain: str
    saved: str
    columns: list[_Column]
    race: list[_Bar]
    diff: list[tuple[str, str]]
    plans: list[tuple[str, _Node]]


def to_html(batch: BatchModel) -> str:
    """The page: numbers, groups, rewrites with their evidence, and where every other line went."""
    longest = max((group.seconds for group in batch.groups), default=0.0)
    return _environment.get_template("batch.html").render(
        title="Query log",
        batch=batch,
        views=[_view(group, longest, batch.dialect) for group in batch.groups],
        overview=words.overview(batch),
        gains=words.gains(batch),
        saved=words.bounds(batch.saving.day or batch.saving.log) if batch.saving is not None else "",
        counts=words.counts(batch),
        more=count(batch.group_count - len(batch.groups), "more group"),
        aside=[part for part in batch.skipped if part.kind == "set aside"],
        malformed=[part for part in batch.skipped if part.kind == "malformed"],
        unread=[part for part in batch.skipped if part.kind == "no statement"],
        refused=[view for view in batch.groups if view.result is not None and view.result.outcome == "refused"],
    )


def _view(group: GroupModel, longest: float, dialect: str) -> _View:
    result = group.result
    plans = (("Original", result.original_plan), ("Rewrite", result.chosen_plan)) if result is not None else ()
    return _View(
        group=group,
        bar=_percent(group.seconds, longest),
        outcome=words.outcome(result),
        gain=words.gain(result.speedup) if result is not None and result.speedup is not None else "",
        saved=words.saved(result.saving) if result is not None and result.saving is not None and group.seconds else "",
        columns=_columns(group.histogram),
        race=_race(result.measurements) if result is not None and result.faster else [],
        diff=line_diff(_laid_out(result.original, dialect), _laid_out(result.sql, dialect))
        if result is not None and result.original is not None and result.sql is not None
        else [],
        plans=[(title, _node(plan)) for title, plan in plans if plan is not None],
    )


def _laid_out(sql: str, dialect: str) -> list[str]:
    """The statement's lines in one layout, so that only what differs counts as a change; for reading alone."""
    try:
        check_text(sql)
        allow_recursion()
        return parse_one(sql, read=dialect).sql(dialect, pretty=True, comments=False).splitlines()
    except (QueryRejected, SqlglotError, RecursionError):
        return sql.strip().splitlines()


def _columns(bins: list[BinModel]) -> list[_Column]:
    """Columns that touch each other; the fullest bin is as high as the plot, and none that is not empty vanishes."""
    most = max((one.count for one in bins), default=0)
    width = 100.0 / len(bins) if bins else 0.0
    columns: list[_Column] = []
    for index, one in enumerate(bins):
        height = max(2.0, one.count / most * _HEIGHT) if one.count else 0.0
        text = f"{duration(one.low)} to {duration(one.high)}: {count(one.count, 'call')}"
        columns.append(
            _Column(round(index * width, 2), round(width * 0.92, 2), round(100 - height, 2), round(height, 2), text)
        )
    return columns


def _race(entries: list[MeasurementModel]) -> list[_Bar]:
    longest = max((value for one in entries for value in (*one.seconds, one.stopped_after or 0.0)), default=0.0)
    return [
        _Bar(
            label="original" if one.label == "original" else "rewrite",
            won=one.label != "original",
            width=_percent(one.stopped_after or one.median or 0.0, longest),
            dots=tuple(_percent(seconds, longest) for seconds in one.seconds),
            text=f"> {duration(one.stopped_after)}" if one.stopped_after else duration(one.median),
        )
        for one in entries
    ]


def _percent(part: float, whole: float) -> float:
    return round(part / whole * 100.0, 2) if whole > 0 else 0.0


def _node(plan: PlanModel) -> _Node:
    shown = facts(Plan(plan.operator, plan.detail, plan.rows, plan.cost))
    return _Node(plan.operator, shown, [_node(child) for child in plan.children])
