"""The report as one self-contained HTML file: no script, nothing loaded from anywhere, everything escaped.

SQL, plans and values are other people's text; Jinja2's autoescape is on for every template, and the page's own
Content-Security-Policy forbids scripts besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from rewriter.records import Measurement, Report
from rewriter.report.model import ReportModel, model
from rewriter.report.terminal import note
from rewriter.report.text import evidence, headline, plan_lines, sql_diff
from rewriter.report.units import count, duration, ratio

BAR_WIDTH = 400.0

_environment = Environment(
    loader=PackageLoader("rewriter.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class _Bar:
    index: int
    label: str
    width: float
    dots: tuple[float, ...]
    reach: float
    text: str


@dataclass(frozen=True)
class _View:
    """One report as the templates want it."""

    model: ReportModel
    headline: str
    evidence: str
    diff: list[tuple[str, str]]
    bars: list[_Bar]
    original_plan: str
    chosen_plan: str
    spent: str


@dataclass(frozen=True)
class _Entry:
    name: str
    original: str
    chosen: str
    ratio: str
    verdict: str
    rules: str
    report: _View


def to_html(report: Report) -> str:
    """One report as a complete page."""
    return _environment.get_template("report.html").render(title=headline(report), report=_view(report))


def to_html_index(reports: Sequence[tuple[str, Report]], title: str = "Rewritten queries") -> str:
    """Several named reports in one page: a table in front, a section for each."""
    entries = [_entry(name, report) for name, report in reports]
    faster = sum(1 for _, report in reports if report.decision.chosen is not None)
    summary = f"{count(len(reports), 'query', 'queries')}, {faster} made faster"
    return _environment.get_template("index.html").render(title=title, summary=summary, entries=entries)


def _view(report: Report) -> _View:
    return _View(
        model=model(report),
        headline=headline(report),
        evidence=evidence(report.verdict) if report.verdict else "",
        diff=sql_diff(report),
        bars=_bars(report),
        original_plan="\n".join(plan_lines(report.original_plan)) if report.original_plan else "",
        chosen_plan="\n".join(plan_lines(report.chosen_plan)) if report.chosen_plan else "",
        spent=", ".join(f"{stage} {duration(seconds)}" for stage, seconds in report.timings.items()),
    )


def _entry(name: str, report: Report) -> _Entry:
    decision = report.decision
    times = {entry.label: entry for entry in report.measurements}
    original = times.get("original")
    chosen = times.get(decision.chosen.id) if decision.chosen else None
    gain = decision.speedup
    return _Entry(
        name=name,
        original=_time(original),
        chosen=_time(chosen) if chosen else "original kept",
        ratio=ratio(gain.ratio, at_least=gain.at_least) if gain else "-",
        verdict=report.verdict.kind.value if report.verdict else "-",
        rules=", ".join(rule.rpartition("/")[2] for rule in decision.chosen.rules) if decision.chosen else "",
        report=_view(report),
    )


def _time(entry: Measurement | None) -> str:
    if entry is None:
        return "-"
    if entry.stopped_after is not None:
        return f"> {duration(entry.stopped_after)}"
    return duration(entry.median)


def _bars(report: Report) -> list[_Bar]:
    longest = max(
        (value for entry in report.measurements for value in (*entry.seconds, entry.stopped_after or 0.0)), default=0.0
    )
    if longest <= 0:
        return []
    chosen = report.decision.chosen
    bars = []
    for index, entry in enumerate(report.measurements):
        length = entry.median if entry.median is not None else entry.stopped_after or 0.0
        dots = tuple(round(seconds / longest * BAR_WIDTH, 1) for seconds in entry.seconds)
        width = max(1.0, round(length / longest * BAR_WIDTH, 1))
        text = note(entry)[:60] or duration(entry.median)
        label = f"{entry.label} (chosen)" if chosen is not None and entry.label == chosen.id else entry.label
        bars.append(_Bar(index, label, width, dots, max((width, *dots)), text))
    return bars
