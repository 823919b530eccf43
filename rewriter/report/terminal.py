"""The report for a terminal. The rewritten statement is the headline output; colour never carries meaning alone."""

from __future__ import annotations

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from rewriter.records import Measurement, Report
from rewriter.report.text import evidence, headline
from rewriter.report.units import duration

SHOWN_LOSERS = 12


def print_terminal(report: Report, console: Console) -> None:
    """Print the report on ``console``."""
    decision = report.decision
    chosen = decision.chosen
    console.print(Text(headline(report), style="bold green" if chosen else "bold"))
    console.print()
    if chosen is not None:
        if console.is_terminal:
            console.print(Syntax(chosen.sql, "sql", background_color="default", word_wrap=True))
        else:
            console.print(Text(chosen.sql), soft_wrap=True)
        console.print()
        for number, step in enumerate(chosen.steps, start=1):
            console.print(Text(f"{number}. {step.rule}: {step.summary}"), soft_wrap=True)
    if report.verdict is not None:
        console.print(Text(f"Evidence: {evidence(report.verdict)}"), soft_wrap=True)
        if report.verdict.confirmed_on:
            console.print(Text(f"Run on: {', '.join(report.verdict.confirmed_on)}"), soft_wrap=True)
        for assumption in report.verdict.assumptions:
            console.print(Text(f"Assumes: {assumption}"), soft_wrap=True)
    if report.measurements:
        console.print(_timings(report))
    if decision.losers:
        console.print(_losers(report))
    for note in report.notes:
        console.print(Text(f"Note: {note}"), soft_wrap=True)
    spent = ", ".join(f"{stage} {duration(seconds)}" for stage, seconds in report.timings.items())
    console.print(Text(f"{report.candidates} candidates; {spent}", style="dim"), soft_wrap=True)


def _timings(report: Report) -> Table:
    table = Table("entrant", "median", "runs", "note", title="Timings", title_justify="left")
    table.columns[1].justify = table.columns[2].justify = "right"
    chosen = report.decision.chosen
    for entry in report.measurements:
        label = f"{entry.label} (chosen)" if chosen is not None and entry.label == chosen.id else entry.label
        table.add_row(Text(label), duration(entry.median), str(len(entry.seconds)), Text(note(entry)))
    return table


def note(entry: Measurement) -> str:
    """Why an entrant has no or few timings."""
    if entry.error:
        return entry.error
    return f"stopped after {duration(entry.stopped_after)}" if entry.stopped_after else ""


def _losers(report: Report) -> Table:
    losers = report.decision.losers
    table = Table("candidate", "rules", "lost at", "why", title="Tried and not chosen", title_justify="left")
    for loser in losers[:SHOWN_LOSERS]:
        rules = ", ".join(rule.rpartition("/")[2] for rule in loser.candidate.rules)
        table.add_row(loser.candidate.id, Text(rules), loser.stage, Text(loser.reason))
    if len(losers) > SHOWN_LOSERS:
        table.add_row("...", Text(f"{len(losers) - SHOWN_LOSERS} more in --json and --html"), "", "")
    return table
