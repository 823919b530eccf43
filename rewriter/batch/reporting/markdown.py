"""A run as Markdown."""

from __future__ import annotations

from rewriter.batch.reporting.record import BatchModel, GroupModel
from rewriter.batch.reporting.terminal import remarks
from rewriter.batch.reporting.words import flat, gain, gains, outcome, overview, saved
from rewriter.report.markdown import block, inline
from rewriter.report.units import duration

SHOWN = 100  # characters of a statement in a table


def to_markdown(batch: BatchModel) -> str:
    """Totals, a line for each group, each rewrite with its evidence, and where the other lines went."""
    lines = ["# Query log", "", f"{inline(overview(batch))}."]
    if told := gains(batch):
        lines += ["", f"{inline(told)}."]
    if batch.interrupted:
        lines += ["", f"The run was interrupted; {batch.waiting:,} groups wait."]
    lines += [
        "",
        "| group | time | share | calls | p50 | p95 | outcome | statement |",
        "|---|---:|---:|---:|---:|---:|---|---|",
        *(_row(group) for group in batch.groups),
    ]
    for group in batch.faster:
        lines += _rewrite(group)
    if rest := [line for line in remarks(batch) if line != told]:
        lines += ["", "## Besides", "", *(f"- {inline(line)}" for line in rest)]
    return "\n".join(lines) + "\n"


def _row(group: GroupModel) -> str:
    cells = (
        group.key,
        duration(group.seconds),
        f"{group.share:.1%}",
        f"{group.calls:,}",
        duration(group.p50),
        duration(group.p95),
        inline(flat(outcome(group.result), SHOWN)),
        inline(flat(group.statement or "(unknown)", SHOWN)),
    )
    return f"| {' | '.join(cells)} |"


def _rewrite(group: GroupModel) -> list[str]:
    result = group.result
    assert result is not None
    lines = ["", f"## Group {group.key[:8]}: {inline(outcome(result))}", ""]
    if result.speedup is not None:
        lines.append(f"- {inline(gain(result.speedup))}")
    if result.evidence:
        lines.append(f"- {inline(result.evidence)}")
    lines += [f"- assumption: {inline(text)}" for text in (result.verdict.assumptions if result.verdict else [])]
    lines += [f"- rule {inline(step.rule)}: {inline(step.summary)}" for step in result.steps]
    if result.saving is not None and group.seconds > 0:
        lines.append(f"- would save {inline(saved(result.saving))}")
    if group.place is not None:
        lines.append(f"- logged at {inline(group.place.file)}:{group.place.line}")
    if result.rewrite is not None:
        lines.append(f"- full report: `rewriter history --show {result.rewrite}`")
    for title, sql in (("Original:", result.original), ("Rewrite:", result.sql)):
        if sql is not None:
            lines += ["", title, "", *block("sql", sql.strip())]
    return lines
