"""The report for a terminal. The rewritten statement is the headline output; colour never carries meaning alone."""

from __future__ import annotations

import difflib

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from rewriter.records import Report, Step
from rewriter.report.model import model
from rewriter.report.text import evidence, headline, interval, note, scope, set_rows, unnoticed, varied, visible
from rewriter.report.units import count, duration

SHOWN_LOSERS = 12


def print_terminal(report: Report, console: Console, *, trace: bool = False) -> None:
    """Print the report on ``console``; with ``trace`` what every step changed, and the verdict on it."""
    decision, shown = report.decision, model(report)
    chosen = decision.chosen
    console.print(_text(headline(shown), "bold green" if chosen else "bold"), soft_wrap=True)
    if decision.speedup is not None:
        console.print(_text(f"Speedup: {interval(decision.speedup)}", "dim"), soft_wrap=True)
    console.print()
    if chosen is not None:
        if console.is_terminal:
            console.print(Syntax(visible(chosen.sql), "sql", background_color="default", word_wrap=True))
        else:
            console.print(_text(chosen.sql), soft_wrap=True)
        console.print()
        for number, step in enumerate(chosen.steps, start=1):
            console.print(_text(f"{number}. {step.rule}: {step.summary}"), soft_wrap=True)
            if trace:
                before = chosen.steps[number - 2].sql if number > 1 else report.query.sql(pretty=True)
                _print_step(before, step, console)
    if report.verdict is not None:
        console.print(_text(f"Evidence: {evidence(report.verdict)}"), soft_wrap=True)
        holds = scope(shown)
        if holds is not None:
            console.print(_text(f"Parameters: {holds}"), soft_wrap=True)
        blind = unnoticed(report.verdict)
        if blind is not None:
            console.print(_text(blind[:1].upper() + blind[1:], "dim"), soft_wrap=True)
        if report.verdict.confirmed_on:
            console.print(_text(f"Run on: {', '.join(report.verdict.confirmed_on)}"), soft_wrap=True)
        for assumption in report.verdict.assumptions:
            console.print(_text(f"Assumes: {assumption}"), soft_wrap=True)
        for number, told in enumerate(report.verdict.proof, start=1):
            console.print(_text(f"Proof {number}. {told}", "dim"), soft_wrap=True)
    others = varied(shown)
    if others is not None:
        console.print(_text(f"With other constants: {others}"), soft_wrap=True)
    if report.measurements:
        console.print(_timings(report))
    rows = set_rows(shown)
    if rows:
        table = Table("parameters", "original", "chosen", "ratio", "note", title="By parameters", title_justify="left")
        for row in rows:
            table.add_row(*map(_text, row))
        console.print(table)
    if decision.losers:
        console.print(_losers(report))
    for remark in report.notes:
        console.print(_text(f"Note: {remark}"), soft_wrap=True)
    spent = ", ".join(f"{stage} {duration(seconds)}" for stage, seconds in report.timings.items())
    console.print(_text(f"{count(report.candidates, 'candidate')}; {spent}", "dim"), soft_wrap=True)


def _print_step(before: str, step: Step, console: Console) -> None:
    """The lines that a step took away and added, and its own evidence."""
    for line in difflib.unified_diff(before.splitlines(), step.sql.splitlines(), lineterm="", n=2):
        if not line.startswith(("---", "+++")):
            style = {"+": "green", "-": "red"}.get(line[0], "dim")
            console.print(_text(f"   {line}", style), soft_wrap=True)
    if step.verdict is not None:
        console.print(_text(f"   Evidence for this step: {evidence(step.verdict)}"), soft_wrap=True)
    console.print()


def _timings(report: Report) -> Table:
    table = Table("entrant", "median", "runs", "note", title="Timings", title_justify="left")
    table.columns[1].justify = table.columns[2].justify = "right"
    chosen = report.decision.chosen
    for entry in report.measurements:
        label = f"{entry.label} (chosen)" if chosen is not None and entry.label == chosen.id else entry.label
        table.add_row(_text(label), duration(entry.median), str(len(entry.seconds)), _text(note(entry)))
    return table


def _losers(report: Report) -> Table:
    losers = report.decision.losers
    table = Table("candidate", "rules", "lost at", "why", title="Tried and not chosen", title_justify="left")
    for loser in losers[:SHOWN_LOSERS]:
        rules = ", ".join(rule.rpartition("/")[2] for rule in loser.candidate.rules)
        table.add_row(_text(loser.candidate.id), _text(rules), loser.stage, _text(loser.reason))
    if len(losers) > SHOWN_LOSERS:
        table.add_row("...", _text(f"{len(losers) - SHOWN_LOSERS} more in --json and --html"), "", "")
    return table


def _text(text: str, style: str = "") -> Text:
    """Text without markup and without anything that the terminal would obey."""
    return Text(visible(text), style=style)
