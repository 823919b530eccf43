"""The summary of a run for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rewriter.batch.reporting.record import BatchModel
from rewriter.batch.reporting.words import counts, flat, gains, outcome, overview
from rewriter.report.units import count, duration

SHOWN = 80  # characters of a statement
PLACES = 3  # of malformed lines that are named


def print_terminal(batch: BatchModel, console: Console) -> None:
    """The groups as a table."""
    table = Table("group", "time", "share", "calls", "p95", "outcome", "statement", title=flat(overview(batch)))
    for name in ("time", "share", "calls", "p95"):
        next(column for column in table.columns if column.header == name).justify = "right"
    for group in batch.groups:
        cells = (
            group.key,
            duration(group.seconds),
            f"{group.share:.0%}",
            f"{group.calls:,}",
            duration(group.p95),
            flat(outcome(group.result), SHOWN),
            flat(group.statement or "(unknown)", SHOWN),
        )
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)


def print_talk(batch: BatchModel, console: Console) -> None:
    """What else there is to say, a line each."""
    for line in remarks(batch):
        console.print(Text(line), soft_wrap=True)


def remarks(batch: BatchModel) -> list[str]:
    """Where lines went that are in no group, and what the rewrites would save."""
    lines: list[str] = []
    if batch.others.entries:
        more = batch.group_count - len(batch.groups)
        lines.append(
            f"{count(more, 'more group')}: {duration(batch.others.seconds)}, {count(batch.others.calls, 'call')}"
        )
    other = sum(total.entries for total in batch.other_statements.values())
    if other:
        kinds = ", ".join(f"{total.entries:,} {kind}" for kind, total in batch.other_statements.items())
        lines.append(f"statements that are no SELECT: {kinds}")
    if batch.ignored:
        seconds = sum(total.seconds for total in batch.ignored.values())
        lines.append(f"{count(len(batch.ignored), 'group')} ignored: {duration(seconds)}")
    lines += [f"no statement has the ignored key {flat(key)}" for key in batch.unmatched_ignores]
    unread = sum(part.lines for part in batch.skipped if part.kind == "no statement")
    if unread:
        lines.append(f"{count(unread, 'line')} about other things than statements")
    for part in batch.skipped:
        if part.kind != "no statement":
            places = ", ".join(f"{flat(place.file)}:{place.line}" for place in part.places[:PLACES])
            lines.append(
                f"{part.kind}, {part.reason}: {count(part.lines, 'line')}{', such as ' if places else ''}{places}"
            )
    lines += [f"{flat(name)}: {flat(why)}" for name, why in batch.damaged.items()]
    lines += [flat(note) for note in batch.notes]
    if batch.outcomes:
        lines.append(f"worked on: {counts(batch)}")
    if batch.spent is not None:
        lines.append(f"the model has cost ${batch.spent:.4f}")
    if told := gains(batch):
        lines.append(told)
    return lines  # fmt: skip
