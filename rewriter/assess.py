"""Answers what sources ask about their candidates, as deep as they ask: plan, screening, one run on the target.

Nothing that failed its screening is ever run on the target's data.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from rewriter.candidates.base import Depth, Proposal
from rewriter.engines.base import Engine, Limits
from rewriter.errors import EngineError, QueryTimeout
from rewriter.records import Candidate, Feedback, Loser, Plan, Query, Row, Verdict, VerdictKind
from rewriter.verify import Verifier

SLACK = 1.5  # a trial run is stopped at this multiple of the best time known
SHORTEST = 0.5  # seconds; no trial run is stopped earlier
PROMISING = 1.3  # times the best trial's time; whoever took longer need not be raced
OUT_OF_REACH = 0.97  # a best trial above this share of the original's time gives little hope
FORLORN = 2  # entrants that are raced all the same


@dataclass
class Entrant:
    """A candidate that passed its screening, with the time of its trial run as far as there was one."""

    candidate: Candidate
    verdict: Verdict
    plan: Plan | None
    seconds: float | None = None
    stopped_after: float | None = None

    @property
    def cost(self) -> float:
        return self.plan.cost if self.plan is not None and self.plan.cost is not None else float("inf")


@dataclass
class Assessor:
    """The candidates of one query. ``trial`` is the longest that a single trial run may take, in seconds; None: the
    target is not to be run on. ``stage`` names the stage that the seconds inside it are spent for."""

    engine: Engine
    query: Query
    verifier: Verifier
    parameters: Row
    trial: float | None
    stage: Callable[[str], AbstractContextManager[None]]
    entrants: dict[str, Entrant] = field(default_factory=dict)
    losers: list[Loser] = field(default_factory=list)
    best: float | None = None
    rows: int | None = None
    original_seconds: float | None = None
    _plans: dict[str, Plan | None] = field(default_factory=dict)

    def original(self, plan: Plan | None) -> Feedback:
        """Run the original once (``trial`` seconds at most), for the candidates to be held against."""
        if self.trial is None:
            return Feedback(plan=plan)
        with self.stage("measure"):
            try:
                seconds, self.rows = self.engine.time(self.query.statement, Limits(seconds=self.trial), self.parameters)
            except QueryTimeout:
                return Feedback(plan=plan, stopped_after=self.trial)
            except EngineError:
                return Feedback(plan=plan)
        self.best = self.original_seconds = seconds
        return Feedback(plan=plan, seconds=seconds)

    def assess(self, proposal: Proposal) -> Feedback:
        """What the source asked. Whoever passes a screening becomes an entrant. Raises TargetLost."""
        candidate = proposal.candidate
        try:
            plan = self._plan(candidate)
        except EngineError as error:
            self.losers.append(Loser(candidate, "bind", error.message))
            return Feedback(rejected=error.message)
        if proposal.depth is Depth.PLAN:
            return Feedback(plan=plan)
        entrant = self.entrants.get(candidate.id)
        if entrant is None:
            with self.stage("verify"):
                verdict = self.verifier.screen(candidate.tree)
            if verdict.kind is VerdictKind.REFUTED:
                self.losers.append(Loser(candidate, "verify", verdict.reason, verdict))
                return Feedback(rejected=verdict.reason, verdict=verdict, plan=plan)
            entrant = self.entrants[candidate.id] = Entrant(candidate, verdict, plan)
        rejected = self._try(entrant) if proposal.depth is Depth.TIME and self.trial is not None else None
        return Feedback(rejected, entrant.verdict, plan, entrant.seconds, entrant.stopped_after)

    def _plan(self, candidate: Candidate) -> Plan | None:
        if candidate.id not in self._plans:
            plan: Plan | None = None
            with self.stage("candidates"):
                if self.engine.capabilities.explains:
                    plan = self.engine.explain(candidate.sql)
                elif self.engine.capabilities.binds:
                    self.engine.bind(candidate.sql)
            self._plans[candidate.id] = plan
        return self._plans[candidate.id]

    def _try(self, entrant: Entrant) -> str | None:
        """Run an entrant once; the reason why it is out, if it is."""
        assert self.trial is not None
        limit = self.trial if self.best is None else min(self.trial, max(SHORTEST, self.best * SLACK))
        try:
            with self.stage("measure"):
                seconds, rows = self.engine.time(entrant.candidate.sql, Limits(seconds=limit), self.parameters)
        except QueryTimeout:
            entrant.stopped_after = limit
            return None
        except EngineError as error:
            return self._out(entrant, "measure", error.message)
        if self.rows is not None and rows != self.rows:
            return self._out(entrant, "measure", f"returned {rows:,} rows where the original returned {self.rows:,}")
        entrant.seconds, entrant.stopped_after = seconds, None
        self.best = seconds if self.best is None else min(self.best, seconds)
        return None

    def _out(self, entrant: Entrant, stage: str, reason: str) -> str:
        del self.entrants[entrant.candidate.id]
        self.losers.append(Loser(entrant.candidate, stage, reason, entrant.verdict))
        return reason

    def racers(self, most: int) -> list[Entrant]:
        """Who enters the race, best first; all others become losers with the reason.

        Where trial runs tell, those near the best time. Otherwise the cheapest by plan, but every set of rules gets its
        best one in before any its second: cost is a weak judge, and variants of one idea must not crowd out another.
        """
        timed = sorted(
            (entrant for entrant in self.entrants.values() if entrant.seconds is not None),
            key=lambda entrant: entrant.seconds or 0.0,
        )
        if timed:
            best = timed[0].seconds or 0.0
            hopeful = self.original_seconds is None or best < OUT_OF_REACH * self.original_seconds
            chosen = [entrant for entrant in timed if (entrant.seconds or 0.0) <= best * PROMISING + 0.002]
            chosen = chosen[: most if hopeful else FORLORN]
        else:
            chosen = self._diverse()[:most]
        names = {entrant.candidate.id for entrant in chosen}
        for entrant in self.entrants.values():
            if entrant.candidate.id not in names:
                self.losers.append(Loser(entrant.candidate, "cost", _why_not_raced(entrant), entrant.verdict))
        return chosen

    def _diverse(self) -> list[Entrant]:
        turns: dict[frozenset[str], int] = {}
        rounds: list[tuple[int, int, Entrant]] = []
        for position, entrant in enumerate(sorted(self.entrants.values(), key=lambda entrant: entrant.cost)):
            idea = frozenset(entrant.candidate.rules)
            turns[idea] = turns.get(idea, -1) + 1
            rounds.append((turns[idea], position, entrant))
        return [entrant for _, _, entrant in sorted(rounds, key=lambda item: item[:2])]


def _why_not_raced(entrant: Entrant) -> str:
    if entrant.seconds is not None:
        return f"not raced: {entrant.seconds:.3g} s in its trial run, where another was faster"
    if entrant.stopped_after is not None:
        return f"not raced: stopped after {entrant.stopped_after:.3g} s in its trial run"
    return "not raced: others of its kind or cheaper ones went first"
