"""What a batch says: plain data for programs, Markdown for people, a patch of SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rewriter.batch.logs import Gathered
from rewriter.batch.logs.grouping import Group
from rewriter.batch.work import Done
from rewriter.report.text import visible
from rewriter.report.units import count, duration, ratio

SHOWN = 100  # characters of a statement in a table


def as_data(gathered: Gathered, done: Sequence[Done], most: int) -> dict[str, Any]:
    """The account of the log, its groups in order of the time that they took, and what came of those worked on."""
    tally = gathered.tally
    results = {one.item.key: one for one in done}
    return {
        "lines": tally.lines,
        "entries": tally.entries,
        "skipped": {reason.value: number for reason, number in sorted(tally.skipped.items())},
        "damaged": dict(tally.damaged),
        "other_statements": {kind: total.entries for kind, total in sorted(gathered.groups.kinds.items())},
        "outcomes": dict(Counter(one.outcome for one in done)),
        "saved_seconds": sum(one.saved for one in done),
        "groups": [_group(group, results.get(group.key)) for group in gathered.groups.ranked()[:most]],
    }


def _group(group: Group, done: Done | None) -> dict[str, Any]:
    durations = group.durations
    return {
        "key": group.key,
        "calls": group.total.calls,
        "seconds": group.total.seconds,
        "p50": durations.percentile(0.5),
        "p95": durations.percentile(0.95),
        "most": durations.most,
        "statement": group.example.statement if group.example is not None else None,
        "parameter_sets": len(group.parameters.sets()),
        "result": None if done is None else _result(done),
    }


def _result(done: Done) -> dict[str, Any]:
    return {
        "outcome": done.outcome,
        "reason": done.reason,
        "ratio": done.ratio,
        "verdict": done.verdict,
        "holds_for": done.holds_for,
        "regressions": list(done.regressions),
        "saved_seconds": done.saved,
        "sql": done.sql,
        "rewrite": done.rewrite,
    }


def as_markdown(data: dict[str, Any]) -> str:
    """The same for a reader: totals, then a line for each group."""
    total = sum(group["seconds"] for group in data["groups"])
    lines = [
        "# Query log",
        "",
        f"{count(data['lines'], 'line')}, {count(data['entries'], 'statement')}; the groups below took"
        f" {duration(total)}, of which the rewrites would have saved {duration(data['saved_seconds'])}.",
        "",
        "| time | calls | p95 | statement | outcome |",
        "|---:|---:|---:|---|---|",
    ]
    for group in data["groups"]:
        p95 = duration(group["p95"]) if group["p95"] is not None else "-"
        text = _cell(group["statement"] or "(unknown)")
        lines.append(
            f"| {duration(group['seconds'])} | {group['calls']:,} | {p95} | `{text}` | {_outcome(group['result'])} |"
        )
    for title, numbers in (("Lines without an entry", data["skipped"]), ("Other statements", data["other_statements"])):
        if numbers:
            lines += ["", f"{title}: " + ", ".join(f"{number:,} {what}" for what, number in numbers.items()) + "."]
    lines += [f"\n{_cell(name)}: {_cell(why)}" for name, why in data["damaged"].items()]
    return "\n".join(lines) + "\n"


def as_patch(done: Sequence[Done]) -> str:
    """The verified rewrites as one SQL file, each with where it comes from."""
    parts = [
        f"-- group {one.item.key}: {ratio(one.ratio)} faster, {one.verdict}; rewrite {one.rewrite}\n{one.sql};\n"
        for one in done
        if one.sql is not None and one.ratio is not None
    ]
    return "\n".join(parts)


def gained(result: dict[str, Any]) -> str:
    """What a rewrite gains, how it is known to be right and for which values of its parameters."""
    text = f"{ratio(result['ratio'])} faster, {result['verdict']}"
    if result["holds_for"] == "observed":
        text += " with the parameters seen"
    slow = result["regressions"]
    return f"{text}; slower with {', '.join(slow)}" if slow else text


def _outcome(result: dict[str, Any] | None) -> str:
    if result is None:
        return "-"
    if result["ratio"]:
        return gained(result)
    return _cell(f"{result['outcome']}: {result['reason']}")


def _cell(text: str) -> str:
    flat = " ".join(visible(text).split()).replace("|", "\\|").replace("`", "'")
    return flat if len(flat) <= SHOWN else flat[: SHOWN - 1] + "…"
