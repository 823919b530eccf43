"""Races with several sets of parameter values: one race for each set, under a shared time budget.

A plan that is good for one value may be bad for another, so what is chosen must pay over all of them together and be
slow with none. Whoever fails or is stopped with one set is out, and does not run with the next.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rewriter.engines.base import Engine
from rewriter.measure.race import ORIGINAL, RacePolicy, race
from rewriter.records import Event, Measurement, Progress, Row, SetRace, quiet
from rewriter.statistics import total

MOST_SETS = 5


def spread(sets: Sequence[Row], most: int = MOST_SETS) -> dict[str, Row]:
    """Up to ``most`` different sets, evenly from first to last, under labels that say where each stood."""
    different = [(f"set {place}", row) for place, row in enumerate(sets, start=1) if row not in sets[: place - 1]]
    if len(different) <= most:
        return dict(different)
    step = (len(different) - 1) / (most - 1)
    return dict(different[round(number * step)] for number in range(most))


def race_sets(
    engine: Engine,
    original: str,
    candidates: Sequence[tuple[str, str]],
    sets: Mapping[str, Row],
    *,
    guests: Sequence[tuple[str, str]] = (),
    policy: RacePolicy | None = None,
    progress: Progress = quiet,
) -> tuple[SetRace, ...]:
    """A race for each of ``sets`` (values by label), as ``race`` runs it; the seconds for repetitions are shared out.

    No further race begins once all have taken the time of one run and of the repetitions together, so fewer races than
    sets may come back, but at least one. With some sets the original may have failed. Raises TargetLost.
    """
    policy = policy or RacePolicy()
    shared = replace(policy, seconds=policy.seconds / max(1, len(sets)))
    started = time.monotonic()
    races: list[SetRace] = []
    out: set[str] = set()
    for label, values in sets.items():
        if races and time.monotonic() - started > policy.timeout + policy.seconds:
            break

        def told(event: Event, label: str = label) -> None:
            progress(replace(event, message=f"{label}: {event.message}"))

        measured = race(
            engine,
            original,
            [entrant for entrant in candidates if entrant[0] not in out],
            guests=[guest for guest in guests if guest[0] not in out],
            policy=shared,
            parameters=values,
            progress=told,
        )
        races.append(SetRace(label, measured))
        if measured[0].error is None:  # where the original fails nobody is held against it
            out |= {entry.label for entry in measured[1:] if entry.error or entry.stopped_after is not None}
    return tuple(races)


def totals(races: Sequence[SetRace]) -> tuple[Measurement, ...]:
    """The measurements of all races together, in the order of the first."""
    entries: dict[str, list[Measurement]] = {}
    for one in races:
        for entry in one.measurements:
            entries.setdefault(entry.label, []).append(entry)
    return tuple(total(found) for found in entries.values())


def usable(races: Sequence[SetRace]) -> tuple[SetRace, ...]:
    """The races in which the original did not fail."""
    return tuple(one for one in races if all(e.error is None for e in one.measurements if e.label == ORIGINAL))
