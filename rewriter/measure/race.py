"""A race: the original and its candidates run in turns on the target, each under a time limit that falls as someone
is fast.

The first round runs the candidates before the original, in the order given (cheapest plan first), so that a quick one
bounds how long a slow original has to run. Until somebody has finished nobody knows what is quick, so the limit starts
low and rises in steps: one fast entrant at the end of the line is then found after seconds, not after everybody before
it has used up the full time. Later rounds rotate the order and drop whoever is clearly beaten (successive halving:
Jamieson and Talwalkar, 2016). Timings of one round are taken close together, so the machine's drift hits all alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rewriter.engines.base import Engine, Limits
from rewriter.errors import EngineError, QueryTimeout
from rewriter.records import Event, Measurement, Progress, Row, quiet
from rewriter.statistics import speedup

ORIGINAL = "original"
LONG = 1.0  # seconds; a run this long is no mere warm-up: its time counts, and repeating it needs a reason
STEP = 8.0  # how much the limit rises while nobody has finished; the retries then cost a seventh of the last step
BEATEN = 1.5  # a candidate whose best run is this many times the leader's median is out
OPEN = (1.05, 1.3)  # while the interval of the leader's speedup touches this range, more runs are worth their cost


@dataclass(frozen=True)
class RacePolicy:
    """``timeout``: seconds any single run may take. ``seconds``: budget for repetitions after the first round; a run
    longer than that is never repeated.

    ``multiple``: a candidate is stopped at this multiple of the best candidate's time. ``original_multiple`` does the
    same for the original, larger, so that its ratio stays told as far as that is affordable; it always gets
    ``original_least`` seconds, because its number of rows is what shows a wrong candidate on real data. ``slack``: a
    candidate is stopped at this multiple of the original's time (more than 1, for it may run with colder caches).
    ``shortest_limit``: no limit falls below these seconds. ``rounds`` are the fewest and the most timed runs of each
    entrant that stays in the race.
    """

    timeout: float = 60.0
    seconds: float = 20.0
    multiple: float = 3.0
    original_multiple: float = 1000.0
    original_least: float = 10.0
    slack: float = 1.5
    shortest_limit: float = 0.5
    rounds: tuple[int, int] = (3, 11)


@dataclass
class _Entrant:
    label: str
    sql: str
    guest: bool = False
    seconds: list[float] = field(default_factory=list)
    first: float | None = None
    stopped_after: float | None = None
    error: str | None = None
    rows: int | None = None
    beaten: bool = False

    @property
    def finished(self) -> bool:
        """Whether every run so far ended by itself, with the right number of rows as far as that is known."""
        return self.first is not None and self.error is None and self.stopped_after is None

    @property
    def running(self) -> bool:
        return self.finished and not self.beaten

    def result(self) -> Measurement:
        """A first run stands for itself where no other followed."""
        times = tuple(self.seconds) or ((self.first,) if self.first is not None else ())
        return Measurement(self.label, times, self.stopped_after, self.error, self.rows)


def race(
    engine: Engine,
    original: str,
    candidates: Sequence[tuple[str, str]],
    *,
    guests: Sequence[tuple[str, str]] = (),
    policy: RacePolicy | None = None,
    parameters: Row = (),
    progress: Progress = quiet,
) -> tuple[Measurement, ...]:
    """Time ``original`` and ``candidates`` (label, SQL; best guess first) against each other on ``engine``.

    ``guests`` are timed along for comparison. Nobody vouches for them, so their times never bound how long others may
    run, and they themselves are stopped only where they are slower than the original. The first Measurement is the
    original's, then come the candidates' and the guests' in the order given. Whoever returns another number of rows
    than the original carries that as its error. Raises TargetLost; an EngineError stays with its entrant.
    """
    entrants = [_Entrant(label, sql) for label, sql in candidates]
    entrants += [_Entrant(label, sql, guest=True) for label, sql in guests]
    return _Race(engine, _Entrant(ORIGINAL, original), entrants, policy or RacePolicy(), parameters, progress).run()


class _Race:
    def __init__(
        self,
        engine: Engine,
        original: _Entrant,
        others: Sequence[_Entrant],
        policy: RacePolicy,
        parameters: Row,
        progress: Progress,
    ) -> None:
        self.engine = engine
        self.original = original
        self.others = others
        self.policy = policy
        self.parameters = parameters
        self.progress = progress
        self.repeated = 0.0  # seconds spent on repetitions

    def run(self) -> tuple[Measurement, ...]:
        self._first_round()
        total = self.policy.rounds[1]
        for number in range(1, total + 1):
            clear = self._clear()
            turn = [entrant for entrant in self._running() if not self._sits_out(entrant, clear=clear)]
            if not any(entrant is not self.original for entrant in turn):
                break
            self.progress(Event("measure", f"round {number}: {len(turn)} running", number, total))
            start = number % len(turn)
            for entrant in [*turn[start:], *turn[:start]]:
                self._time(entrant, self._limit(entrant))
            self._drop_beaten()
        return tuple(entrant.result() for entrant in [self.original, *self.others])

    def _first_round(self) -> None:
        candidates = [entrant for entrant in self.others if not entrant.guest]
        guests = [entrant for entrant in self.others if entrant.guest]
        for step in self._steps():
            for entrant in [*candidates, self.original, *guests]:
                limit = self._limit(entrant)
                given = entrant.stopped_after or 0.0
                if entrant.first is not None or entrant.error is not None or given >= limit:
                    continue
                self.progress(Event("measure", f"first run of {entrant.label}", 0, self.policy.rounds[1]))
                self._time(entrant, limit if self._bounded(entrant) else min(step, limit))
        for entrant in self._running():
            if entrant.first is not None and entrant.first >= LONG:
                entrant.seconds.append(entrant.first)

    def _steps(self) -> Iterator[float]:
        step = max(self.policy.shortest_limit, self.policy.timeout / STEP**2)
        while step < self.policy.timeout:
            yield step
            step *= STEP
        yield self.policy.timeout
        # Once more for those whom a wrong candidate, since found out, had cut short.
        yield self.policy.timeout

    def _running(self) -> list[_Entrant]:
        return [entrant for entrant in [self.original, *self.others] if entrant.running]

    def _best(self) -> float | None:
        """The best time of a candidate that nothing speaks against."""
        times = [time for entry in self.others if entry.finished and not entry.guest for time in entry.result().seconds]
        return min(times, default=None)

    def _bounded(self, entrant: _Entrant) -> bool:
        """Whether a time is known that tells how long the entrant is worth waiting for."""
        if entrant is self.original:
            return self._best() is not None
        if entrant.guest:
            return self.original.finished or self.original.stopped_after is not None
        return self._best() is not None or self.original.finished

    def _limit(self, entrant: _Entrant) -> float:
        """The seconds that the entrant may take now. Guests are held against the original alone: stopped means slower
        than it, whatever the candidates do."""
        policy, best, original = self.policy, self._best(), self.original
        limits = [policy.timeout]
        if best is not None and entrant is original:
            limits.append(max(best * policy.original_multiple, policy.original_least))
        elif best is not None and not entrant.guest:
            limits.append(best * policy.multiple)
        if entrant is not original and original.finished:
            limits.append(min(original.result().seconds) * policy.slack)
        elif entrant.guest and original.stopped_after is not None:
            limits.append(original.stopped_after * policy.slack)
        return min(policy.timeout, max(policy.shortest_limit, min(limits)))

    def _time(self, entrant: _Entrant, limit: float) -> None:
        repeated = entrant.first is not None
        try:
            seconds, rows = self.engine.time(entrant.sql, Limits(seconds=limit), self.parameters)
        except QueryTimeout:
            entrant.stopped_after = limit
            self.repeated += limit if repeated else 0.0
            return
        except EngineError as error:
            entrant.error = error.message
            return
        entrant.rows = rows
        entrant.stopped_after = None
        if repeated:
            entrant.seconds.append(seconds)
            self.repeated += seconds
        else:
            entrant.first = seconds
            self._compare_rows()

    def _compare_rows(self) -> None:
        expected = self.original.rows
        for entrant in self.others:
            if expected is not None and entrant.rows is not None and entrant.rows != expected and not entrant.error:
                entrant.error = f"returned {entrant.rows:,} rows where the original returned {expected:,}"

    def _sits_out(self, entrant: _Entrant, *, clear: bool) -> bool:
        """Whether another run of the entrant would cost more than it tells."""
        runs, expected = len(entrant.seconds), entrant.first or 0.0
        if runs == 0:
            return False
        if expected > self.policy.seconds:
            return True
        if runs >= self.policy.rounds[0]:
            return clear or self.repeated + expected > self.policy.seconds
        return clear and entrant is self.original and expected >= LONG

    def _clear(self) -> bool:
        """Whether the leader's win or the lack of one is already beyond doubt."""
        running = [entrant for entrant in self.others if entrant.running]
        if not running or not self.original.running:
            return True
        candidates = [entrant for entrant in running if not entrant.guest] or running
        leader = min((entrant.result() for entrant in candidates), key=lambda entrant: entrant.median or 0.0)
        gain = speedup(self.original.result(), leader)
        return gain is not None and (gain.low > OPEN[1] or gain.high < OPEN[0])

    def _drop_beaten(self) -> None:
        """Drop candidates whose best time is far above the leader's median; guests neither lead nor are dropped."""
        racing = [entrant for entrant in self.others if entrant.running and entrant.seconds and not entrant.guest]
        leader = min((entrant.result().median or 0.0 for entrant in racing), default=0.0)
        for entrant in racing:
            if min(entrant.seconds) > BEATEN * leader + 0.001:
                entrant.beaten = True
