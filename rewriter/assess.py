"""Answers what sources ask about their candidates, as deep as they ask: plan, one run on the target, screening.

A run comes before the screening, because most candidates turn out to be slow, and then nobody needs to know whether
they are right: a run is read-only, bounded in time, and its rows are thrown away. What enters the race is screened.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from rewriter.candidates.base import Depth, Draft, Proposal
from rewriter.engines.base import Engine, Limits
from rewriter.errors import EngineError, InputError, QueryTimeout
from rewriter.parse import parse_candidate
from rewriter.records import Candidate, Feedback, Loser, Plan, Query, Row, Trial, Verdict, VerdictKind
from rewriter.robustness import Corners, slow_corner
from rewriter.verify import Verifier

WARM = 2.0  # seconds; the original is run twice when it takes no longer
SLACK = 1.25  # a trial run is stopped at this multiple of the best time known
UNLUCKY = 6  # trial runs stopped before anybody has finished, after which the limit doubles
SHORTEST = 0.25  # seconds; no trial run is stopped earlier
PROMISING = 1.3  # times the best trial's time; whoever took longer need not be raced
OUT_OF_REACH = 0.97  # a best trial above this share of the original's time gives little hope
FORLORN = 2  # entrants that are raced all the same


@dataclass
class Entrant:
    """A candidate that nothing speaks against so far: its screening and the time of its trial run, as far as done."""

    candidate: Candidate
    plan: Plan | None
    verdict: Verdict | None = None
    seconds: float | None = None
    stopped_after: float | None = None

    @property
    def screening(self) -> Verdict:
        """The verdict of the screening, which whoever enters the race has."""
        assert self.verdict is not None
        return self.verdict

    @property
    def cost(self) -> float:
        return self.plan.cost if self.plan is not None and self.plan.cost is not None else float("inf")


@dataclass
class Assessor:
    """The candidates of one query. ``trial`` is the longest that a trial run normally takes, in seconds, and
    ``timeout`` the longest ever; ``trial`` None: the target is not to be run on. ``stage`` names the stage that the
    seconds inside it are spent for. ``corners`` tells how a candidate does with other constants; one that is slower
    there than ``tolerance`` (original / candidate) is out where that was asked."""

    engine: Engine
    query: Query
    verifier: Verifier
    parameters: Row
    trial: float | None
    timeout: float
    stage: Callable[[str], AbstractContextManager[None]]
    corners: Corners
    tolerance: float
    losers: list[Loser] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    best: float | None = None
    rows: int | None = None
    original_seconds: float | None = None
    _stopped: int = 0
    _known: dict[str, Entrant] = field(default_factory=dict)
    _plans: dict[str, Plan | None] = field(default_factory=dict)
    _drafts: dict[str, Candidate] = field(default_factory=dict)
    refused: list[tuple[Draft, str]] = field(default_factory=list)

    def original(self, plan: Plan | None) -> Feedback:
        """Run the original once (``trial`` seconds at most), for the candidates to be held against."""
        if self.trial is None:
            return Feedback(plan=plan)
        with self.stage("measure"):
            limits = Limits(seconds=self.trial)
            try:
                seconds, self.rows = self.engine.time(self.query.statement, limits, self.parameters)
                if seconds < WARM:
                    # The first run may have read from disk what the candidates then find in memory.
                    seconds = min(seconds, self.engine.time(self.query.statement, limits, self.parameters)[0])
            except QueryTimeout:
                self.trials.append(Trial((), None, self.trial))
                return Feedback(plan=plan, stopped_after=self.trial)
            except EngineError:
                return Feedback(plan=plan)
        self.best = self.original_seconds = seconds
        self.trials.append(Trial((), seconds))
        return Feedback(plan=plan, seconds=seconds)

    def assess(self, proposal: Proposal) -> Feedback:
        """What the source asked. Whoever passes a screening becomes an entrant. Raises TargetLost."""
        try:
            candidate = self._adopted(proposal.candidate)
        except InputError as error:
            return Feedback(rejected=error.message)
        try:
            plan = self._plan(candidate)
        except EngineError as error:
            self.losers.append(Loser(candidate, "bind", error.message))
            return Feedback(rejected=error.message)
        if proposal.depth is Depth.PLAN:
            return Feedback(plan=plan)
        entrant = self._known.get(candidate.id)
        if entrant is None:
            entrant = self._known[candidate.id] = Entrant(candidate, plan)
        rejected: str | None = None
        if proposal.depth is Depth.TIME and self.trial is not None:
            rejected = self._try(entrant)
        if rejected is None and (proposal.depth in (Depth.VERDICT, Depth.ROBUST) or self._promising(entrant)):
            rejected = self._screen(entrant)
        if rejected is None and proposal.depth is Depth.ROBUST:
            rejected = self._vary(entrant)
        return Feedback(rejected, entrant.verdict, plan, entrant.seconds, entrant.stopped_after)

    def _adopted(self, proposed: Candidate | Draft) -> Candidate:
        """The candidate that a text is, once. Raises InputError for what may not run or does not parse."""
        if isinstance(proposed, Candidate):
            return proposed
        known = self._drafts.get(proposed.id)
        if known is None:
            try:
                tree = parse_candidate(proposed.sql, self.query)
            except InputError as error:
                self.refused.append((proposed, error.message))
                raise
            sql = tree.sql(dialect=self.query.dialect, pretty=True)
            known = self._drafts[proposed.id] = Candidate(proposed.id, tree, sql, proposed.source, proposed.steps)
        return known

    def _promising(self, entrant: Entrant) -> bool:
        """Whether an entrant may win, as far as its trial run tells; without any trial runs everybody may."""
        if self.trial is None:
            return True
        return entrant.seconds is not None and entrant.seconds <= (self.best or math.inf) * PROMISING

    def _screen(self, entrant: Entrant) -> str | None:
        """Screen an entrant unless that is done; the reason why it is out, if it is."""
        if entrant.verdict is None:
            with self.stage("verify"):
                entrant.verdict = self.verifier.screen(entrant.candidate.tree)
        if entrant.verdict.kind is VerdictKind.REFUTED:
            return self._out(entrant, "verify", entrant.verdict.reason)
        if entrant.seconds is not None:
            self.best = entrant.seconds if self.best is None else min(self.best, entrant.seconds)
        return None

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
        if self.best is None:
            # Nobody has finished yet, so nobody knows what is quick: the limit rises as one after the other is stopped.
            limit = min(self.timeout, self.trial * 2 ** (self._stopped // UNLUCKY))
        else:
            limit = min(self.trial, max(SHORTEST, self.best * SLACK))
        try:
            with self.stage("measure"):
                seconds, rows = self.engine.time(entrant.candidate.sql, Limits(seconds=limit), self.parameters)
        except QueryTimeout:
            entrant.stopped_after = limit
            self._stopped += 1
            self.trials.append(Trial(entrant.candidate.rules, None, limit))
            return None
        except EngineError as error:
            return self._out(entrant, "measure", error.message)
        if self.rows is not None and rows != self.rows:
            return self._out(entrant, "measure", f"returned {rows:,} rows where the original returned {self.rows:,}")
        entrant.seconds, entrant.stopped_after = seconds, None
        self.trials.append(Trial(entrant.candidate.rules, seconds))
        return None

    def _vary(self, entrant: Entrant) -> str | None:
        """Why an entrant is out because of other constants, if it is."""
        wrong = self.corners.refuted(entrant.candidate)
        if wrong is not None:
            return self._out(entrant, "verify", wrong)
        slow = slow_corner(self.corners.estimated(entrant.candidate), self.tolerance)
        return self._out(entrant, "cost", slow) if slow is not None else None

    def _out(self, entrant: Entrant, stage: str, reason: str) -> str:
        del self._known[entrant.candidate.id]
        self.losers.append(Loser(entrant.candidate, stage, reason, entrant.verdict))
        return reason

    @property
    def screened(self) -> int:
        """Candidates that have passed their screening so far."""
        return sum(1 for entrant in self._known.values() if entrant.verdict is not None)

    def racers(self, most: int, *, near: bool = True) -> list[Entrant]:
        """Who enters the race, best first, screened; all others become losers with the reason.

        Where trial runs tell, those near the best time (not ``near``: slower ones too, because the best may fail a
        demand that tests alone do not meet). Otherwise the cheapest by plan, but every set of rules gets its
        best one in before any its second: cost is a weak judge, and variants of one idea must not crowd out another.
        """
        chosen: list[Entrant] = []
        timed = sorted((entry for entry in self._known.values() if entry.seconds is not None), key=_seconds)
        for entrant in timed or self._diverse():
            if near and timed and chosen and _seconds(entrant) > _seconds(chosen[0]) * PROMISING + 0.002:
                break
            hopeful = not timed or _seconds(entrant) < OUT_OF_REACH * (self.original_seconds or math.inf)
            if len(chosen) >= (most if hopeful else min(most, FORLORN)):
                break
            if self._screen(entrant) is None:
                chosen.append(entrant)
        names = {entrant.candidate.id for entrant in chosen}
        for entrant in self._known.values():
            if entrant.candidate.id not in names:
                self.losers.append(Loser(entrant.candidate, "cost", _why_not_raced(entrant), entrant.verdict))
        return chosen

    def _diverse(self) -> list[Entrant]:
        turns: dict[frozenset[str], int] = {}
        rounds: list[tuple[int, int, Entrant]] = []
        for position, entrant in enumerate(sorted(self._known.values(), key=lambda entrant: entrant.cost)):
            idea = frozenset(entrant.candidate.rules)
            turns[idea] = turns.get(idea, -1) + 1
            rounds.append((turns[idea], position, entrant))
        return [entrant for _, _, entrant in sorted(rounds, key=lambda item: item[:2])]


def _seconds(entrant: Entrant) -> float:
    return entrant.seconds if entrant.seconds is not None else math.inf


def _why_not_raced(entrant: Entrant) -> str:
    if entrant.seconds is not None:
        return f"not raced: {entrant.seconds:.3g} s in its trial run, where another was faster"
    if entrant.stopped_after is not None:
        return f"not raced: stopped after {entrant.stopped_after:.3g} s in its trial run"
    return "not raced: others of its kind or cheaper ones went first"
