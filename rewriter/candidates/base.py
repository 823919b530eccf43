"""The contract of a candidate source: a generator that yields candidates and is sent feedback on each."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

from rewriter.records import Candidate, Feedback, Query
from rules.facts import Facts


@dataclass(frozen=True)
class Budget:
    """How much a source may spend on one query: wall seconds (its own work and the feedback together) and
    candidates."""

    seconds: float = 10.0
    candidates: int = 60


class CandidateSource(Protocol):
    """Yields candidates best guess first; after each yield it receives that candidate's Feedback.

    A source imports no engine and no verifier: what it needs to know comes as feedback. It never yields the original
    or the same tree twice, stops by itself when it has no more ideas or its budget is spent, and never raises for a
    query it cannot treat (it yields nothing).
    """

    @property
    def name(self) -> str: ...

    def candidates(self, query: Query, facts: Facts, budget: Budget) -> Generator[Candidate, Feedback, None]: ...
