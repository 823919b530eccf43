"""What a run may be told to fail on, for CI."""

from __future__ import annotations

from collections.abc import Collection

from rewriter.batch.reporting.record import BatchModel
from rewriter.errors import UsageError
from rewriter.report.units import count, ratio

CONDITIONS = ("faster", "failed", "malformed")


def check_conditions(names: Collection[str]) -> None:
    """Raises UsageError for one that is not known."""
    for name in names:
        if name not in CONDITIONS:
            raise UsageError(f"there is no condition {name!r} to fail on", hint=f"use {', '.join(CONDITIONS)}")


def met(batch: BatchModel, names: Collection[str], least: float) -> list[str]:
    """Those of the named conditions that hold, each in a few words. ``faster``: there is a verified rewrite at least
    ``least`` times as fast; ``failed``: work on a group has failed; ``malformed``: there is input that could not be
    read."""
    told: list[str] = []
    if "faster" in names:
        speedups = [one.result.speedup for one in batch.faster if one.result is not None]
        number = sum(1 for one in speedups if one is not None and one.ratio >= least)
        if number:
            told.append(f"{count(number, 'verified rewrite')} at least {ratio(least)} faster")
    if "failed" in names and (number := batch.outcomes.get("failed", 0)):
        told.append(f"work on {count(number, 'group')} failed")
    if "malformed" in names:
        lines = sum(part.lines for part in batch.skipped if part.kind == "malformed")
        if lines:
            told.append(f"{count(lines, 'malformed line')}")
        if batch.damaged:
            told.append(f"{count(len(batch.damaged), 'file')} not read to the end")
    return told
