"""Whether a rewrite is good for other constants than its own: right for them, and not slow at their corners.

Right: the constants that can be varied become parameters in both texts, and the verifier screens that pair with
generated values, so that nothing of the target's data shows. Not slow: both are compared at the corners
(``measure/corners.py``), by the engine's estimates or by time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from sqlglot import exp

from rewriter.engines.base import Engine
from rewriter.errors import EngineError, InputError
from rewriter.measure import RacePolicy, corners, race
from rewriter.parse import parse, parse_candidate
from rewriter.records import Candidate, CornerGain, Measurement, Progress, Query, Robustness, Row, Speedup, VerdictKind
from rewriter.statistics import CLOCK_NOISE, regression, speedup
from rewriter.verify import Verifier
from rewriter.verify.parameters import bound_to

CHOICES = 3  # of other constants that a rewrite is tested with; each has generated databases of its own
RUNS = 3  # of each text at one corner, at least, where they are short
AFFORDABLE = 4.0  # times the seconds given, that measuring may be expected to take before estimates stand in for it


@dataclass(frozen=True)
class Corners:
    """The corners of one query. ``values``: the parameters' values there, where the query has any. ``timeout`` and
    ``seconds``: what one run, and all runs for one rewrite, may take. ``stage`` names what seconds are spent for."""

    engine: Engine
    hunter: Engine
    query: Query
    values: Row
    timeout: float
    seconds: float
    seed: int
    stage: Callable[[str], AbstractContextManager[None]]
    progress: Progress

    def refuted(self, candidate: Candidate) -> str | None:
        """Why the rewrite is wrong for other constants; None when nothing shows that it is. Raises TargetLost."""
        query = self.query
        found = corners.predicates(query.tree, candidate.tree, query.catalog)
        varied = corners.numbered(list(corners.constants_of(found)), len(query.parameters) + 1)
        if not varied:
            return None
        try:
            lifted = parse(corners.substituted(query.tree, varied).sql(dialect=query.dialect), query.catalog)
            rewrite = parse_candidate(corners.substituted(candidate.tree, varied).sql(dialect=query.dialect), lifted)
        except InputError:
            return None  # parameters are not allowed where these constants stand
        judge = self.engine if self.engine.capabilities.runs else None
        with self.stage("verify"):
            verdict = Verifier(lifted, self.hunter, judge, seed=self.seed, choices=CHOICES).screen(rewrite)
        shown = verdict.counterexample
        # NULL is no constant that anybody compares with.
        if verdict.kind is not VerdictKind.REFUTED or (shown is not None and None in shown.parameters):
            return None
        return f"it holds only for its own constants: {verdict.reason}"

    def estimated(self, candidate: Candidate, gain: float | None = None) -> Robustness:
        """By the plans' costs; with ``gain``, what was measured with the query's own constants, in proportion to it:
        costs are a poor measure of time, and better at telling how it changes. Raises TargetLost."""
        if not self.engine.capabilities.costs:
            return Robustness("none", "the plans of this engine tell no costs")
        with self.stage("measure"):
            own = self._costs(self._query.tree, self._bound(candidate.tree)) if gain is not None else 1.0
            if own is None:
                return Robustness("none", "the two have no plans to compare")
            scale = (gain or 1.0) / own
            made = []
            found = self._found(candidate)
            for corner in found:
                ratio = self._costs(*self._texts(candidate, corner))
                if ratio is not None:
                    made.append(CornerGain(corner.levels, Speedup(scale * ratio, scale * ratio, scale * ratio)))
        if not made:
            return self._nothing(found)
        return Robustness("plan", "", tuple(made))

    def measured(self, candidate: Candidate, expected: float, gain: float) -> Robustness:
        """By races at the corners; by the plans where these would take too long (``expected``: seconds of one run of
        both). The corner at which the two return different numbers of rows is in ``wrong``. Raises TargetLost."""
        if not self.engine.capabilities.runs:
            return self.estimated(candidate, gain)
        with self.stage("measure"):
            found = self._found(candidate)
        if not found:
            return self._nothing(found)
        if expected * len(found) > AFFORDABLE * self.seconds:
            return self.estimated(candidate, gain)
        policy = RacePolicy(timeout=self.timeout, seconds=self.seconds / len(found), rounds=(RUNS, 2 * RUNS))
        started = time.monotonic()
        made: list[CornerGain] = []
        for corner in found:
            if made and time.monotonic() - started > self.timeout + self.seconds:
                break
            original, text = (tree.sql(dialect=self.query.dialect) for tree in self._texts(candidate, corner))
            with self.stage("measure"):
                first, own = race(self.engine, original, [(candidate.id, text)], policy=policy, progress=self.progress)
            if own.error is not None and first.error is None:
                where = ", ".join(f"{name} {level}" for name, level in corner.levels.items())
                # The message of an engine may quote a value, which is the target's.
                return Robustness("measured", wrong=f"it fails or returns other rows where selectivity is {where}")
            compared = _compared(first, own)
            if compared is not None:
                made.append(CornerGain(corner.levels, compared))
        if not made:
            return Robustness("none", "neither text came to its end at any corner")
        left = len(found) - len(made)
        return Robustness(
            "measured", f"{left} of {len(found)} corners could not be measured" if left else "", tuple(made)
        )

    @property
    def _query(self) -> Query:
        return bound_to(self.query, self.values)

    def _bound(self, tree: exp.Query) -> exp.Query:
        return bound_to(self.query, self.values, tree).tree

    def _found(self, candidate: Candidate) -> tuple[corners.Corner, ...]:
        query = self._query
        return corners.corners(self.engine, corners.predicates(query.tree, self._bound(candidate.tree), query.catalog))

    def _texts(self, candidate: Candidate, corner: corners.Corner) -> tuple[exp.Query, exp.Query]:
        return (
            corners.substituted(self._query.tree, corner.constants),
            corners.substituted(self._bound(candidate.tree), corner.constants),
        )

    def _costs(self, original: exp.Query, rewrite: exp.Query) -> float | None:
        try:
            first, second = (
                self.engine.explain(tree.sql(dialect=self.query.dialect)).cost for tree in (original, rewrite)
            )
        except EngineError:
            return None
        return first / second if first and second else None

    def _nothing(self, found: Sequence[corners.Corner]) -> Robustness:
        if found:
            return Robustness("none", "the two have no plans to compare")
        return Robustness("none", "no constant can be varied in both texts alike")


def _compared(original: Measurement, own: Measurement) -> Speedup | None:
    """The speedup at a corner; where the rewrite was stopped, an upper bound of it. A loss within the clock's noise is
    none."""
    gain, loss = speedup(original, own), regression(original, own, noise=CLOCK_NOISE)
    return replace(gain, high=max(gain.high, 1.0)) if gain is not None and loss is None else loss


def slow_corner(found: Robustness, tolerance: float) -> str | None:
    """What to say of the worst corner when the rewrite is clearly slower there than ``tolerance`` allows."""
    worst = found.worst
    if worst is None or worst.gain.ratio >= tolerance or worst.gain.high >= 1.0:
        return None
    where = ", ".join(f"{name} {level}" for name, level in worst.levels.items())
    how = "measured" if found.how == "measured" else "by the engine's estimates"
    return f"slower with other constants: {worst.gain.ratio:.2f}x where the selectivity is {where} ({how})"
