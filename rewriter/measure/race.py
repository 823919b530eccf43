"""A race: the original and its candidates run in turns on the target, each under a time limit that falls as someone
is fast.

The first round runs the candidates before the original, in the order given (cheapest plan first), so that a quick one
bounds how long a slow original has to run. Later rounds rotate the order and drop whoever is clearly beaten. Timings of
one round are taken close together, so the machine's drift hits all entrants alike.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rewriter.engines.base import Engine, Limits
from rewriter.errors import EngineError, QueryTimeout
from rewriter.records import Event, Measurement, Progress, Row, quiet
from rewriter.statistics import speedup

ORIGINAL = "original"


@dataclass(frozen=True)
class RacePolicy:
    """``timeout``: seconds any single run may take. ``seconds``: budget for repetitions after the first round.

    ``multiple``: a candidate is stopped at this multiple of the best time so far. ``original_multiple`` does the same
    for the original, larger, so that its ratio stays told as far as that is affordable. ``rounds`` are the fewest and
    the most timed runs of each entrant that stays in the race.
    """

    timeout: float = 60.0
    seconds: float = 20.0
    multiple: float = 3.0
    original_multiple: float = 1000.0
    shortest_limit: float = 0.5
    rounds: tuple[int, int] = (3, 11)


@dataclass
class _Entrant:
    label: str
    sql: str
    seconds: list[float] = field(default_factory=list)
    first: float | None = None
    stopped_after: float | None = None
    error: str | None = None
    rows: int | None = None
    beaten: bool = False

    @property
    def running(self) -> bool:
        return self.error is None and self.stopped_after is None and not self.beaten

    def result(self) -> Measurement:
        return Measurement(self.label, tuple(self.seconds), self.stopped_after, self.error, self.rows)


def race(
    engine: Engine,
    original: str,
    candidates: Sequence[tuple[str, str]],
    *,
    policy: RacePolicy | None = None,
    parameters: Row = (),
    progress: Progress = quiet,
) -> tuple[Measurement, ...]:
    """Time ``original`` and ``candidates`` (label, SQL; best guess first) against each other on ``engine``.

    The first Measurement is the original's, the others follow in the order given. A candidate whose number of rows
    differs from the original's carries that as its error. Raises TargetLost; an EngineError stays with its entrant.
    """
    return _Race(engine, policy or RacePolicy(), parameters, progress).run(original, candidates)


class _Race:
    def __init__(self, engine: Engine, policy: RacePolicy, parameters: Row, progress: Progress) -> None:
        self.engine = engine
        self.policy = policy
        self.parameters = parameters
        self.progress = progress
        self.best = policy.timeout

    def run(self, original: str, candidates: Sequence[tuple[str, str]]) -> tuple[Measurement, ...]:
        first = _Entrant(ORIGINAL, original)
        others = [_Entrant(label, sql) for label, sql in candidates]
        total = self.policy.rounds[1]
        self.progress(Event("measure", "first round", 0, total))
        for entrant in [*others, first]:
            self._time(entrant, warm_up=True)
        self._compare_rows(first, others)
        started = time.monotonic()
        for number in range(1, total + 1):
            running = [entrant for entrant in [first, *others] if entrant.running]
            if not any(entrant.running for entrant in others) or self._done(number, started, first, others):
                break
            self.progress(Event("measure", f"round {number}: {len(running)} running", number, total))
            turn = number % len(running)
            for entrant in [*running[turn:], *running[:turn]]:
                self._time(entrant, warm_up=False)
            self._drop_beaten(others)
        for entrant in [first, *others]:
            # A single long run says enough; one more would only cost the user's database time.
            if not entrant.seconds and entrant.first is not None:
                entrant.seconds.append(entrant.first)
        return tuple(entrant.result() for entrant in [first, *others])

    def _limit(self, entrant: _Entrant) -> float:
        multiple = self.policy.original_multiple if entrant.label == ORIGINAL else self.policy.multiple
        return min(self.policy.timeout, max(self.policy.shortest_limit, self.best * multiple))

    def _time(self, entrant: _Entrant, *, warm_up: bool) -> None:
        limit = self._limit(entrant)
        try:
            seconds, rows = self.engine.time(entrant.sql, Limits(seconds=limit), self.parameters)
        except QueryTimeout:
            entrant.stopped_after = limit
            return
        except EngineError as error:
            entrant.error = error.message
            return
        entrant.rows = rows
        if entrant.label != ORIGINAL:
            self.best = min(self.best, seconds)
        if warm_up:
            entrant.first = seconds
        else:
            entrant.seconds.append(seconds)

    def _compare_rows(self, original: _Entrant, others: Sequence[_Entrant]) -> None:
        for entrant in others:
            if original.rows is not None and entrant.rows is not None and entrant.rows != original.rows:
                entrant.error = f"returned {entrant.rows:,} rows where the original returned {original.rows:,}"

    def _done(self, number: int, started: float, original: _Entrant, others: Sequence[_Entrant]) -> bool:
        """Whether another round would cost more than it tells."""
        fewest, _ = self.policy.rounds
        slowest = max((entrant.first or 0.0) for entrant in [original, *others] if entrant.running)
        spent = time.monotonic() - started
        if number > fewest and spent > self.policy.seconds:
            return True
        if number > 1 and slowest > self.policy.seconds / 2:
            return True
        return number > fewest and self._clear(original, others)

    def _clear(self, original: _Entrant, others: Sequence[_Entrant]) -> bool:
        """Whether the leader's win or the lack of one is already beyond doubt."""
        running = [entrant.result() for entrant in others if entrant.running]
        if original.stopped_after is not None or not original.running:
            return True
        leader = min(running, key=lambda entrant: entrant.median or float("inf"))
        gain = speedup(original.result(), leader)
        return gain is not None and (gain.low > 1.3 or gain.high < 1.05)

    def _drop_beaten(self, others: Sequence[_Entrant]) -> None:
        """Drop candidates whose best time is far above the leader's median."""
        medians = [entrant.result().median for entrant in others if entrant.running]
        known = [median for median in medians if median is not None]
        if not known:
            return
        leader = min(known)
        for entrant in others:
            if entrant.running and entrant.seconds and min(entrant.seconds) > 1.5 * leader + 0.001:
                entrant.beaten = True
