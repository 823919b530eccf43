"""The report as Markdown."""

from __future__ import annotations

import re

from rewriter.records import Loser, Measurement, Report
from rewriter.report.model import model
from rewriter.report.text import (
    evidence,
    headline,
    interval,
    note,
    plan_lines,
    scope,
    set_rows,
    unnoticed,
    varied,
    visible,
    why,
)
from rewriter.report.units import duration


def to_markdown(report: Report) -> str:
    """The whole report as one Markdown document."""
    decision, shown = report.decision, model(report)
    lines = [f"# {inline(headline(shown))}", "", f"Engine: {inline(report.engine)}. {inline(decision.reason)}."]
    if decision.speedup is not None:
        lines.append(f"Speedup: {interval(decision.speedup)}.")
    lines.append("")
    if decision.chosen is not None:
        lines += ["## Rewritten", "", *block("sql", decision.chosen.sql), ""]
    lines += ["## Original", "", *block("sql", report.query.text.strip()), ""]
    if report.verdict is not None:
        lines += [
            "## Evidence",
            "",
            f"- {inline(evidence(report.verdict))}",
            f"- method: {inline(report.verdict.method)}",
        ]
        holds = scope(shown)
        if holds is not None:
            lines.append(f"- parameters: {holds}")
        blind = unnoticed(report.verdict)
        if blind is not None:
            lines.append(f"- {inline(blind)}")
        lines += [f"- assumption: {inline(text)}" for text in report.verdict.assumptions]
        if report.verdict.confirmed_on:
            lines.append(f"- run on: {inline(', '.join(report.verdict.confirmed_on))}")
        lines.append(f"- seed: {report.verdict.seed}")
        lines.append("")
        if report.verdict.proof:
            lines += ["### Proof", ""]
            lines += [f"{n}. {inline(step)}" for n, step in enumerate(report.verdict.proof, start=1)]
            lines.append("")
    if decision.chosen is not None:
        lines += ["## Rules", ""]
        lines += [
            f"{n}. **{inline(step.rule)}**: {inline(' '.join((step.summary, why(step.rule))))}"
            for n, step in enumerate(decision.chosen.steps, start=1)
        ]
        lines.append("")
    if report.measurements:
        lines += ["## Timings", "", "| what | median | runs | note |", "|---|---:|---:|---|"]
        lines += [_timing(entry) for entry in report.measurements]
        lines.append("")
    rows = set_rows(shown)
    if rows:
        lines += [
            "## By parameters",
            "",
            "| parameters | original | chosen | ratio | note |",
            "|---|---:|---:|---:|---|",
        ]
        lines += [f"| {' | '.join(map(inline, row))} |" for row in rows]
        lines.append("")
    others = varied(shown)
    if others is not None:
        lines += ["## With other constants", "", f"{inline(others)}.", ""]
    if decision.losers:
        lines += ["## Tried and not chosen", "", "| candidate | rules | lost at | why |", "|---|---|---|---|"]
        lines += [_loser(loser) for loser in decision.losers]
        lines.append("")
    for title, plan in (("Plan of the original", report.original_plan), ("Plan of the rewrite", report.chosen_plan)):
        if plan is not None:
            lines += [f"## {title}", "", *block("text", "\n".join(plan_lines(plan))), ""]
    if report.notes:
        lines += ["## Notes", "", *(f"- {inline(text)}" for text in report.notes), ""]
    return "\n".join(lines)


def _timing(entry: Measurement) -> str:
    return f"| {inline(entry.label)} | {duration(entry.median)} | {len(entry.seconds)} | {inline(note(entry))} |"


def _loser(loser: Loser) -> str:
    rules = inline(", ".join(loser.candidate.rules))
    return f"| {inline(loser.candidate.id)} | {rules} | {loser.stage} | {inline(loser.reason)} |"


def block(language: str, text: str) -> list[str]:
    """A fenced block whose fence is longer than any inside it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return [f"{fence}{language}", visible(text), fence]


def inline(text: str) -> str:
    """Other people's text on one line, with nothing in it that Markdown would obey (links, images, HTML, emphasis)."""
    return re.sub(r"([\\`*\[\]<>|]|(?<!\w)_|_(?!\w))", r"\\\1", visible(" ".join(text.split())))
