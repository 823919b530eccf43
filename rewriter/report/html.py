"""The report as one self-contained HTML file: no script, nothing loaded from anywhere, everything escaped.

SQL, plans and values are other people's text: Jinja2's autoescape is on for every template, control characters are
made visible, and the page's own Content-Security-Policy forbids scripts besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from rewriter.records import Report
from rewriter.report.model import PlanModel, ReportModel, model
from rewriter.report.text import (
    MEANING,
    facts,
    headline,
    interval,
    note,
    scope,
    set_rows,
    sql_diff,
    timed,
    varied,
    visible,
    why,
)
from rewriter.report.units import count, duration, ratio


def environment(*packages: str) -> Environment:
    """Templates of these packages, which may build on those of the report."""
    made = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in (*packages, "rewriter.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Markup is what templates themselves have made; only plain text comes from outside.
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    made.filters |= {"why": why, "meaning": lambda kind: MEANING[kind]}
    return made


_environment = environment()


@dataclass(frozen=True)
class _Bar:
    """One entrant of the race; widths and places are percent of the longest time."""

    label: str
    chosen: bool
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
    """One report as the templates want it."""

    model: ReportModel
    headline: str
    original: str
    chosen: str
    ratio: str
    interval: str
    diff: list[tuple[str, str]]
    bars: list[_Bar]
    plans: list[tuple[str, _Node]]
    spent: str
    varied: str | None
    scope: str | None
    sets: list[tuple[str, str, str, str, str]]


@dataclass(frozen=True)
class _Entry:
    name: str
    report: _View


def to_html(report: Report) -> str:
    """One report as a complete page."""
    return stored_to_html(model(report))


def stored_to_html(report: ReportModel) -> str:
    """The same from a report's stored form."""
    return _environment.get_template("report.html").render(title=headline(report), report=_view(report))


def to_html_index(reports: Sequence[tuple[str, Report]], title: str = "Rewritten queries") -> str:
    """Several named reports in one page: a table in front, a section for each."""
    entries = [_Entry(name, _view(model(report))) for name, report in reports]
    faster = sum(1 for _, report in reports if report.decision.chosen is not None)
    summary = f"{count(len(reports), 'query', 'queries')}, {faster} made faster"
    return _environment.get_template("index.html").render(title=title, summary=summary, entries=entries)


def _view(report: ReportModel) -> _View:
    times = {entry.label: entry for entry in report.measurements}
    gain = report.speedup
    plans = (("Original", report.original_plan), ("Rewrite", report.chosen_plan))
    return _View(
        model=report,
        headline=headline(report),
        original=timed(times.get("original")),
        chosen=timed(times.get(report.chosen.id)) if report.chosen else "",
        ratio=ratio(gain.ratio, at_least=gain.at_least) if gain else "-",
        interval=interval(gain) if gain else "",
        diff=sql_diff(report),
        bars=_bars(report),
        plans=[(title, _node(plan)) for title, plan in plans if plan is not None],
        spent=", ".join(f"{stage} {duration(seconds)}" for stage, seconds in report.timings.items()),
        scope=scope(report),
        varied=varied(report),
        sets=set_rows(report),
    )


def _node(plan: PlanModel) -> _Node:
    return _Node(plan.operator, facts(plan), [_node(child) for child in plan.children])


def _bars(report: ReportModel) -> list[_Bar]:
    """Original and candidates on one linear scale, so that lengths compare as times do."""
    longest = max(
        (value for entry in report.measurements for value in (*entry.seconds, entry.stopped_after or 0.0)), default=0.0
    )
    if longest <= 0:
        return []

    def percent(seconds: float) -> float:
        return round(seconds / longest * 100.0, 2)

    return [
        _Bar(
            label=entry.label,
            chosen=report.chosen is not None and entry.label == report.chosen.id,
            width=percent(entry.stopped_after or entry.median or 0.0),
            dots=tuple(percent(seconds) for seconds in entry.seconds),
            text=note(entry) or duration(entry.median),
        )
        for entry in report.measurements
    ]
