"""A run as CSV (RFC 4180), a row for each group. Times are seconds."""

from __future__ import annotations

import csv
import io

from rewriter.batch.reporting.record import BatchModel, GroupModel
from rewriter.report.text import visible

COLUMNS = (
    "group", "calls", "seconds", "share", "mean", "p50", "p95", "max", "first_seen", "last_seen", "outcome", "faster",
    "ratio", "ratio_low", "ratio_high", "ratio_at_least", "verdict", "rules", "saved_per_day", "saved_per_day_low",
    "saved_per_day_high", "saved_of_log", "saved_of_log_low", "saved_of_log_high", "file", "line", "rewrite",
    "statement", "sql",
)  # fmt: skip


def to_csv(batch: BatchModel) -> str:
    """The header and the groups in their order."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for group in batch.groups:
        writer.writerow([_cell(value) for value in _values(group)])
    return text.getvalue()


def _values(group: GroupModel) -> list[object]:
    result = group.result
    speedup = result.speedup if result is not None else None
    saving = result.saving if result is not None else None
    day, log = (saving.day, saving.log) if saving is not None else (None, None)
    return [
        group.key,
        group.calls,
        group.seconds,
        group.share,
        group.mean,
        group.p50,
        group.p95,
        group.most,
        group.first_seen.isoformat() if group.first_seen else None,
        group.last_seen.isoformat() if group.last_seen else None,
        result.outcome if result is not None else None,
        result.faster if result is not None else None,
        *((speedup.ratio, speedup.low, speedup.high, speedup.at_least) if speedup is not None else (None,) * 4),
        result.verdict.kind if result is not None and result.verdict is not None else None,
        " ".join(dict.fromkeys(step.rule for step in result.steps)) if result is not None else None,
        *((day.expected, day.low, day.high) if day is not None else (None,) * 3),
        *((log.expected, log.low, log.high) if log is not None else (None,) * 3),
        group.place.file if group.place is not None else None,
        group.place.line if group.place is not None else None,
        result.rewrite if result is not None else None,
        group.statement,
        result.sql if result is not None else None,
    ]


def _cell(value: object) -> object:
    """Text that a spreadsheet would take for a formula gets an apostrophe before it (OWASP, "CSV Injection")."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\n")) else text
