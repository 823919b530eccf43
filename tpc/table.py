"""The table of a benchmark run, for terminals and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from rewriter.report.units import duration, ratio
from tpc.outcome import Figures, Outcome, figures, peer_figures

HEADINGS = ("query", "original", "chosen", "faster", "verdict", "result", "peer", "rules", "cand.", "verify", "measure")


def cells(outcome: Outcome) -> tuple[str, ...]:
    """One row, as text."""
    mark = "> " if outcome.stopped else ""
    result = {True: "same", False: "WRONG", None: "not compared"}[outcome.same]
    peer = "-"
    if outcome.peer_same is False:
        peer = "WRONG"
    elif outcome.peer_error is not None:
        peer = "error"
    elif outcome.peer_ratio is not None:
        peer = ratio(outcome.peer_ratio)
    return (
        outcome.query,
        mark + duration(outcome.original),
        duration(outcome.chosen) if outcome.changed else "kept",
        ratio(outcome.ratio, at_least=outcome.stopped) if outcome.changed else "1x",
        outcome.verdict,
        result if outcome.error is None else f"error: {outcome.error}"[:60],
        peer,
        ", ".join(rule.rpartition("/")[2] for rule in outcome.rules),
        duration(outcome.seconds.get("candidates")),
        duration(outcome.seconds.get("verify")),
        duration(outcome.seconds.get("measure")),
    )


def as_rich(outcomes: Sequence[Outcome], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in HEADINGS:
        right = heading in ("original", "chosen", "faster", "peer", "cand.", "verify", "measure")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for outcome in outcomes:
        table.add_row(*(Text(cell) for cell in cells(outcome)))
    return table


def as_markdown(outcomes: Sequence[Outcome], title: str) -> str:
    lines = [f"### {title}", "", f"| {' | '.join(HEADINGS)} |", f"|{'---|' * len(HEADINGS)}"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells(outcome)) + " |" for outcome in outcomes]
    return "\n".join([*lines, "", *(f"- {line}" for line in summary(outcomes))]) + "\n"


def summary(outcomes: Sequence[Outcome]) -> list[str]:
    """The figures in sentences: ours, then the peer's."""
    lines = [_sentence("rewriter", figures(outcomes))]
    peer = peer_figures(outcomes)
    if peer is not None:
        lines.append(_sentence("peer (sqlglot.optimizer)", peer))
    return lines


def _sentence(who: str, counted: Figures) -> str:
    return (
        f"{who}: {counted.queries} queries; >= 1.5x: {counted.at_1_5}, >= 2x: {counted.at_2}, >= 10x: {counted.at_10}, "
        f"slower than 0.95x: {counted.slower}, wrong: {counted.wrong}, not compared in full: {counted.not_compared}, "
        f"errors: {counted.errors}; geometric mean {counted.mean:.2f}, "
        f"without originals stopped by the limit {counted.mean_running:.2f}"
    )
