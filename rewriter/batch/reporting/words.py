"""What the formats say in the same words."""

from __future__ import annotations

from rewriter.batch.reporting.record import BatchModel, GroupModel, IntervalModel, ResultModel, SavingModel
from rewriter.records import Speedup
from rewriter.report.model import SpeedupModel
from rewriter.report.text import interval, visible
from rewriter.report.units import count, duration, ratio

WARNING_RATIO = 2.0  # a rewrite at least so much faster is a warning to CI; below, a note


def flat(text: str, most: int | None = None) -> str:
    """Other people's text on one line, with nothing that a terminal would obey, cut after ``most`` characters."""
    line = visible(" ".join(text.split()))
    return line if most is None or len(line) <= most else line[: most - 1] + "…"


def gain(speedup: SpeedupModel) -> str:
    """``12x faster (11x to 13x with 90% confidence)``."""
    as_record = Speedup(speedup.ratio, speedup.low, speedup.high, speedup.at_least)
    return f"{ratio(speedup.ratio, at_least=speedup.at_least)} faster ({interval(as_record)})"


def outcome(result: ResultModel | None) -> str:
    """What came of a group, in a few words."""
    if result is None:
        return "-"
    if not result.faster:
        return f"{result.outcome}: {result.reason.removeprefix('the original is kept: ')}"
    verdict = result.verdict.kind if result.verdict is not None else "verified"
    if result.speedup is None:
        return f"rewritten, {verdict}"
    faster = f"{ratio(result.speedup.ratio, at_least=result.speedup.at_least)} faster, {verdict}"
    if result.holds_for == "observed":
        faster += " with the parameters seen"
    if result.regressions:
        faster += f"; slower with {', '.join(result.regressions)}"
    return f"{faster} (known from an earlier run)" if result.outcome == "known" else faster


def saved(saving: SavingModel) -> str:
    """``3 h 12 min a day (2 h 50 min to 3 h 30 min)``, or of the log where no day can be told."""
    part, of = (saving.day, "a day") if saving.day is not None else (saving.log, "of the log")
    least = "at least " if saving.at_least else ""
    return f"{least}{_signed(part.expected)} {of} ({bounds(part)})"


def bounds(part: IntervalModel) -> str:
    return f"{_signed(part.low)} to {_signed(part.high)}"


def overview(batch: BatchModel) -> str:
    """The run in one sentence."""
    text = f"{count(batch.lines, 'line')}, {count(batch.entries, 'statement')} in {count(batch.group_count, 'group')}"
    text += f" that took {duration(batch.total.seconds)}"
    if batch.span:
        text += f" within {duration(batch.span)}"
    if batch.new_part_only:
        text += "; only what was written since the last run is counted"
    return text


def gains(batch: BatchModel) -> str | None:
    """What the rewrites would save together; None when there are none."""
    if batch.saving is None:
        return None
    return f"{count(len(batch.faster), 'verified rewrite')} would save {saved(batch.saving)}"


def counts(batch: BatchModel) -> str:
    return ", ".join(f"{number:,} {what}" for what, number in batch.outcomes.items())


def level(group: GroupModel) -> str:
    """``warning`` or ``note`` for a group with a faster rewrite."""
    speedup = group.result.speedup if group.result is not None else None
    return "warning" if speedup is not None and speedup.ratio >= WARNING_RATIO else "note"


def message(group: GroupModel) -> str:
    """What CI says of a group with a faster rewrite: no SQL and no value of the log."""
    assert group.result is not None
    result = group.result
    parts = [f"A verified rewrite is {gain(result.speedup)}" if result.speedup else "There is a verified rewrite"]
    if result.evidence:
        parts.append(flat(result.evidence))
    if result.steps:
        parts.append("rules: " + flat(", ".join(dict.fromkeys(step.rule for step in result.steps))))
    if result.saving is not None and group.seconds > 0:
        parts.append(f"saves {saved(result.saving)}")
    parts.append(f"group {group.key}")
    if result.rewrite is not None:
        parts.append(f"rewrite {result.rewrite}")
    return "; ".join(parts) + "."


def _signed(seconds: float) -> str:
    return duration(seconds) if seconds >= 0 else f"-{duration(-seconds)}"
