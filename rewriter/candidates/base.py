"""The contract of a candidate source: a generator that yields proposals and is sent feedback on each."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from rewriter.records import Candidate, Feedback, Query, Step
from rules.facts import Facts


@dataclass(frozen=True)
class Budget:
    """How much a source may spend on one query: wall seconds (its own work and the feedback together), and candidates
    that are verified. Plans alone are cheap: ``plans`` candidates may be asked about."""

    seconds: float = 10.0
    candidates: int = 60
    plans: int = 600


class Depth(StrEnum):
    """How much a source wants to know about a candidate, cheapest first: the engine's plan, the verdict of a screening
    as well, the time of one run on the target as well (where the target may be run on; else as ``VERDICT``). Or,
    besides the screening, whether it is right with other constants and, by the engine's estimates, slow with none."""

    PLAN = "plan"
    VERDICT = "verdict"
    TIME = "time"
    ROBUST = "robust"


@dataclass(frozen=True)
class Draft:
    """A rewrite as text from somebody who is not trusted: it becomes a candidate once the parser's guard has let it
    through. Fields as of Candidate."""

    id: str
    sql: str
    source: str
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """A candidate, and what its source asks about it. One that was only asked about its plan is no entrant of the race;
    the same candidate may be proposed again, for more."""

    candidate: Candidate | Draft
    depth: Depth = Depth.VERDICT


class CandidateSource(Protocol):
    """Yields proposals best guess first; after each yield it receives the Feedback on it.

    ``original`` is the Feedback on the original itself: its plan, and the time of one run where it could be run.

    A source imports no engine and no verifier: what it needs to know comes as feedback. It never yields the original
    or the same tree under two ids, stops by itself when it has no more ideas or its budget is spent, and never raises
    for a query it cannot treat (it yields nothing).
    """

    @property
    def name(self) -> str: ...

    def candidates(
        self, query: Query, facts: Facts, budget: Budget, original: Feedback
    ) -> Generator[Proposal, Feedback, None]: ...
