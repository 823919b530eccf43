"""The report as Markdown."""

from __future__ import annotations

from rewriter.records import Measurement, Report
from rewriter.report.text import evidence, headline, plan_lines
from rewriter.report.units import duration


def to_markdown(report: Report) -> str:
    """The whole report as one Markdown document."""
    decision = report.decision
    lines = [f"# {headline(report)}", "", f"Engine: {_inline(report.engine)}. {_inline(decision.reason)}.", ""]
    if decision.chosen is not None:
        lines += ["## Rewritten", "", *_block("sql", decision.chosen.sql), ""]
    lines += ["## Original", "", *_block("sql", report.query.text.strip()), ""]
    if report.verdict is not None:
        lines += ["## Evidence", "", f"- {_inline(evidence(report.verdict))}", f"- method: {report.verdict.method}"]
        lines += [f"- assumption: {_inline(text)}" for text in report.verdict.assumptions]
        if report.verdict.confirmed_on:
            lines.append(f"- run on: {', '.join(report.verdict.confirmed_on)}")
        lines.append(f"- seed: {report.verdict.seed}")
        lines.append("")
    if decision.chosen is not None:
        lines += ["## Rules", ""]
        lines += [
            f"{n}. `{step.rule}`: {_inline(step.summary)}" for n, step in enumerate(decision.chosen.steps, start=1)
        ]
        lines.append("")
    if report.measurements:
        lines += ["## Timings", "", "| what | median | runs | note |", "|---|---:|---:|---|"]
        lines += [_timing(entry) for entry in report.measurements]
        lines.append("")
    if decision.losers:
        lines += ["## Tried and not chosen", "", "| candidate | rules | lost at | why |", "|---|---|---|---|"]
        lines += [
            f"| {loser.candidate.id} | {', '.join(loser.candidate.rules)} | {loser.stage} | {_cell(loser.reason)} |"
            for loser in decision.losers
        ]
        lines.append("")
    for title, plan in (("Plan of the original", report.original_plan), ("Plan of the rewrite", report.chosen_plan)):
        if plan is not None:
            lines += [f"## {title}", "", *_block("text", "\n".join(plan_lines(plan))), ""]
    if report.notes:
        lines += ["## Notes", "", *(f"- {_inline(note)}" for note in report.notes), ""]
    return "\n".join(lines)


def _timing(entry: Measurement) -> str:
    note = entry.error or (f"stopped after {duration(entry.stopped_after)}" if entry.stopped_after else "")
    return f"| {entry.label} | {duration(entry.median)} | {len(entry.seconds)} | {_cell(note)} |"


def _block(language: str, text: str) -> list[str]:
    """A fenced block whose fence is longer than any inside it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return [f"{fence}{language}", text, fence]


def _inline(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;")


def _cell(text: str) -> str:
    return _inline(text).replace("|", "\\|")
