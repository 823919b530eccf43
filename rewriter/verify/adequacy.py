"""The rung ``adequacy``: how many mutants of the original do the databases kill on which a candidate was tested?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rewriter.engines.base import Outcome
from rewriter.errors import BindError
from rewriter.verify.mutants import Mutant
from rewriter.verify.trials import Bench, Trial, differ

CHUNK = 4  # mutants that run in one call
FIRST = 8  # databases on which most mutants die


@dataclass(frozen=True)
class Tally:
    """``tried`` mutants, those that do not bind left out; ``alive``: the faults of those that no database killed."""

    tried: int
    alive: tuple[str, ...]

    @property
    def killed(self) -> int:
        return self.tried - len(self.alive)


def tally(bench: Bench, trials: Sequence[Trial], mutants: Sequence[Mutant], deadline: float) -> Tally:
    """Run the mutants on the databases of ``trials`` until all have run or ``deadline`` (monotonic seconds) has passed;
    mutants that had no turn by then are not counted."""
    telling = [trial for trial in trials if trial.telling]
    tried = 0
    alive: list[str] = []
    for start in range(0, len(mutants), CHUNK):
        if time.monotonic() > deadline:
            break
        waiting = list(mutants[start : start + CHUNK])
        for part in (telling[:FIRST], telling[FIRST:]):
            outcomes = bench.run([trial.database for trial in part], *(mutant.tree for mutant in waiting))
            remaining = []
            for position, mutant in enumerate(waiting):
                answers = [row[position] for row in outcomes]
                if any(isinstance(answer, BindError) for answer in answers):
                    continue
                if _killed(bench, part, answers):
                    tried += 1
                else:
                    remaining.append(mutant)
            waiting = remaining
        tried += len(waiting)
        alive.extend(mutant.fault for mutant in waiting)
    return Tally(tried, tuple(alive))


def _killed(bench: Bench, trials: Sequence[Trial], answers: Sequence[Outcome]) -> bool:
    return any(differ(bench.reference, trial.outcome, answer) for trial, answer in zip(trials, answers, strict=True))
