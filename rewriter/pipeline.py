"""The one place that knows the order of the stages: parse, candidates, verify, measure, choose.

Command line, API and batch all call ``rewrite``. Verification has two efforts: every candidate is screened inside the
search loop, and the one that wins the race is certified before it is chosen; when certification refutes it, the next
best is tried. Nothing that failed its screening is ever run on the target's data.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rewriter.assess import Assessor, Entrant
from rewriter.candidates import default_sources
from rewriter.candidates.base import Budget, CandidateSource, Depth, Draft
from rewriter.choose import ChoicePolicy, decide
from rewriter.engines import connect
from rewriter.engines.base import Engine
from rewriter.errors import EngineError, RewriterError, UsageError
from rewriter.measure import RacePolicy, race, race_sets, spread, totals, usable
from rewriter.parse import named, parse
from rewriter.records import (
    Candidate,
    Decision,
    Event,
    Feedback,
    Loser,
    Measurement,
    Plan,
    Progress,
    Query,
    Report,
    Robustness,
    Row,
    SetRace,
    Trial,
    Verdict,
    VerdictKind,
    quiet,
)
from rewriter.robustness import Corners, slow_corner
from rewriter.verify import Verifier
from rewriter.verify.data import Comparison
from rewriter.verify.parameters import MOST_GIVEN
from rules.facts import Facts

PATIENCE = 4  # times the certification's seconds, where these did not suffice for enough databases
SLOWEST = 4.0  # seconds of the original; up to here the search gets as many times its seconds
PLANS = 8  # candidates whose plan may be asked for, for each that may be verified
CERTIFIED_UNMEASURED = 3  # candidates that get their full evidence when nothing can be measured


@dataclass(frozen=True)
class Policy:
    """What the user demands and what the work may cost. Times are seconds.

    ``require``: weakest verdict accepted. ``margin``: least speedup worth a change. ``regression``: least ratio with
    any one set of parameter values (None: 1 / ``margin``; 0: any will do). ``timeout``: longest a single run of any
    query may take on the target. ``search_seconds`` and ``candidates`` (tried ones) bound the search and its trial
    runs, ``trial_seconds`` one such run; a query that takes more than a second is searched longer, up to four times.
    ``verify_seconds`` bounds the certification of one winner, ``race_seconds`` the repetitions of a race,
    ``racers`` its entrants. ``least_databases``: generated databases that the verdict ``tested`` must rest on (a
    machine under load may not manage more than a handful in the time given, and a handful is no evidence).
    ``least_killed``: share of the original's mutants, 0 to 1, that those databases must kill. ``on_data``: the
    winner must return the same as the original on the target's own data as well. ``robust``: it must be right with
    other constants too, and slow with none; otherwise only the engine's estimates are asked, and noted. ``trace``:
    every step of the chosen rewrite is verified against the one before it as well. ``runs``: how often the query runs a
    day (0: not known, then every source is asked); when what it costs a day has become less than a search, no further
    source is asked.
    """

    require: VerdictKind = VerdictKind.TESTED
    margin: float = 1.1
    regression: float | None = None
    timeout: float = 60.0
    search_seconds: float = 30.0
    candidates: int = 80
    trial_seconds: float = 5.0
    verify_seconds: float = 10.0
    race_seconds: float = 20.0
    racers: int = 6
    least_databases: int = 30
    least_killed: float = 0.0
    on_data: bool = False
    robust: bool = False
    trace: bool = False
    runs: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.require.accepts:
            raise UsageError(
                f"a policy cannot require the verdict {self.require.value!r}",
                hint="require proved, bounded or tested",
            )
        if not 0.0 <= self.least_killed <= 1.0:
            raise UsageError(
                "the share of mutants to be killed must lie between 0 and 1", hint="0.9 is a strict demand"
            )
        if self.margin < 1.0:
            raise UsageError("the margin must be at least 1.0", hint="1.1 means: at least 10 percent faster")
        if self.regression is not None and not 0.0 <= self.regression <= 1.0:
            raise UsageError("the regression must lie between 0 and 1", hint="0.9 lets a tenth be lost with one set")
        for field in ("timeout", "search_seconds", "trial_seconds", "verify_seconds", "race_seconds"):
            if getattr(self, field) <= 0:
                raise UsageError(f"{field} must be more than 0 seconds")


EFFORTS: Mapping[str, Policy] = {
    "quick": Policy(
        search_seconds=8.0, candidates=24, trial_seconds=2.0, verify_seconds=2.0, race_seconds=6.0, racers=3
    ),
    "normal": Policy(),
    "thorough": Policy(
        search_seconds=180.0, candidates=400, trial_seconds=20.0, verify_seconds=60.0, race_seconds=60.0, racers=16
    ),
}


class _Clock:
    """Adds up the seconds spent per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def rewrite(
    sql: str,
    engine: Engine,
    *,
    policy: Policy | None = None,
    sources: Sequence[CandidateSource] | None = None,
    hunter: Engine | None = None,
    parameter_sets: Sequence[Row] = (),
    progress: Progress = quiet,
    also: Mapping[str, str] | None = None,
    target: str = "",
) -> Report:
    """Rewrite one statement for ``engine`` and report the outcome with its evidence.

    ``hunter`` is an in-memory DuckDB engine for generated databases (one is started when absent, and closed at the
    end). ``parameter_sets``: sets of values for the statement's parameters, most telling first. What is chosen is
    tested with them, pays over a few of them together and is slow with none of these; without any, a parameterised
    statement is verified and not measured. ``also`` names foreign texts that are timed in the same race and never
    chosen: their measurements carry the label ``also:NAME``. Raises RewriterError for a statement or target that cannot
    be used; trouble with a
    single candidate is never raised but reported as the reason why it lost.
    """
    if hunter is None:
        with contextlib.closing(connect("duckdb://:memory:")) as own:
            return rewrite(
                sql,
                engine,
                policy=policy,
                sources=sources,
                hunter=own,
                parameter_sets=parameter_sets,
                progress=progress,
                also=also,
                target=target,
            )
    job = _Job(engine, hunter, policy or Policy(), parameter_sets, progress)
    return job.run(sql, default_sources() if sources is None else sources, also or {}, target)


def _fared(candidate: Candidate | Draft, feedback: Feedback) -> dict[str, object]:
    """How a candidate fared, for programs: no SQL, and no reason, which may quote some."""
    verdict = feedback.verdict
    return {
        "candidate": candidate.id,
        "source": candidate.source,
        "rules": [step.rule for step in candidate.steps],
        "rejected": feedback.rejected is not None,
        "verdict": verdict.kind.value if verdict is not None else None,
        "seconds": feedback.seconds,
        "stopped_after": feedback.stopped_after,
        "cost": feedback.cost,
    }


class _Job:
    """One rewrite in progress. Holds what the stages hand to each other."""

    def __init__(
        self, engine: Engine, hunter: Engine, policy: Policy, given: Sequence[Row], progress: Progress
    ) -> None:
        self.engine = engine
        self.hunter = hunter
        self.policy = policy
        self.given = given
        self.progress = progress
        self.clock = _Clock()
        self.losers: list[Loser] = []
        self.notes: list[str] = []
        self.trials: tuple[Trial, ...] = ()
        self.seen = 0
        self.robustness: Robustness | None = None

    def run(self, sql: str, sources: Sequence[CandidateSource], also: Mapping[str, str], target: str) -> Report:
        self.progress(Event("parse", "reading the catalog and the statement"))
        with self.clock.stage("parse"):
            catalog = self.engine.catalog()
            query, original_plan = self._bind_original(parse(sql, catalog))
            for values in self.given:
                if len(values) != len(query.parameters):
                    raise UsageError(
                        f"the statement has {len(query.parameters)} parameters and {len(values)} values were given"
                    )
        self.notes.extend(f"the result is not determined by the data alone: {why}" for why in query.nondeterminism)
        with self.clock.stage("verify"):
            judge = self.engine if self.engine.capabilities.runs else None
            given = spread(self.given, MOST_GIVEN)
            verifier = Verifier(query, self.hunter, judge, seed=self.policy.seed, given=given)
        racers = self._search(query, original_plan, sources, verifier)
        measurements, races = self._measure(query, racers, also)
        decision, verdict = self._choose(racers, measurements, races, verifier)
        if decision.chosen is not None and self.policy.trace:
            decision = replace(decision, chosen=self._traced(decision.chosen, query))
        plans = {entrant.candidate.id: entrant.plan for entrant in racers}
        return Report(
            query=query,
            target=target,
            engine=self.engine.name,
            decision=replace(decision, losers=(*decision.losers, *self.losers)),
            verdict=verdict,
            original_plan=original_plan,
            chosen_plan=plans.get(decision.chosen.id) if decision.chosen else None,
            measurements=measurements,
            candidates=self.seen,
            timings=dict(self.clock.seconds),
            notes=tuple(self.notes),
            trials=self.trials,
            sets=races,
            robustness=self.robustness if decision.chosen is not None else None,
        )

    def _bind_original(self, query: Query) -> tuple[Query, Plan | None]:
        """Bind and explain the user's own statement, so that a mistake in it is told before any work is done.

        The engine knows best what the output columns are called.
        """
        if self.engine.capabilities.binds:
            query = named(query, tuple(name for name, _ in self.engine.bind(query.statement)))
        if not self.engine.capabilities.explains:
            return query, None
        try:
            return query, self.engine.explain(query.statement)
        except EngineError as error:
            self.notes.append(f"the original could not be explained: {error.message}")
            return query, None

    def _search(
        self, query: Query, original_plan: Plan | None, sources: Sequence[CandidateSource], verifier: Verifier
    ) -> list[Entrant]:
        """Ask every source for candidates and tell it how each fared; those worth racing, best first."""
        assessor = Assessor(
            self.engine,
            query,
            verifier,
            self.first,
            self._trial(query),
            self.policy.timeout,
            self.clock.stage,
            self._corners(query),
            1 / self.policy.margin,
        )
        original = assessor.original(original_plan)
        # The slower the query, the dearer each trial and the more a search is worth.
        slowness = original.seconds or original.stopped_after or 1.0
        seconds = self.policy.search_seconds * min(SLOWEST, max(1.0, slowness))
        budget = Budget(seconds, self.policy.candidates, PLANS * self.policy.candidates)
        known: set[str] = set()
        tried = 0
        for number, source in enumerate(sources):
            if number and not self._pays(assessor.best):
                self.notes.append(f"{source.name} was not asked: the query costs less in a day than its search would")
                continue
            generator = source.candidates(query, Facts(query.catalog), budget, original)
            feedback: Feedback | None = None
            while True:
                with self.clock.stage("candidates"):
                    try:
                        proposal = next(generator) if feedback is None else generator.send(feedback)
                    except StopIteration:
                        break
                known.add(proposal.candidate.id)
                self.seen = len(known)
                feedback = assessor.assess(proposal)
                if proposal.depth is not Depth.PLAN:
                    tried += 1
                    message = f"{self.seen} found, {tried} tried, {assessor.screened} passed screening"
                    fared = _fared(proposal.candidate, feedback)
                    self.progress(Event("candidates", message, tried, self.policy.candidates, fared))
        racers = assessor.racers(self.policy.racers, near=self.policy.require is VerdictKind.TESTED)
        self.losers.extend(assessor.losers)
        for reason, times in Counter(reason for _, reason in assessor.refused).items():
            self.notes.append(f"refused before it reached an engine ({times}x): {reason}")
        self.trials = tuple(assessor.trials)
        return racers

    def _pays(self, seconds: float | None) -> bool:
        """Whether a query of which the best form takes ``seconds`` is worth another source's search: a day of it costs
        more."""
        return seconds is None or not self.policy.runs or seconds * self.policy.runs > self.policy.search_seconds

    def _trial(self, query: Query) -> float | None:
        """The seconds that a trial run may take; None when the target is not to be run on, or values are missing."""
        if not self.engine.capabilities.runs or (query.parameters and not self.given):
            return None
        return min(self.policy.timeout, self.policy.trial_seconds)

    @property
    def first(self) -> Row:
        """The values that the search tries candidates with."""
        return self.given[0] if self.given else ()

    def _measure(
        self, query: Query, racers: Sequence[Entrant], also: Mapping[str, str]
    ) -> tuple[tuple[Measurement, ...], tuple[SetRace, ...]]:
        """The race, or the totals of the races with each set of parameter values and these races."""
        if not self.engine.capabilities.runs:
            self.notes.append("measuring was skipped: the target is a schema without a database")
            return (), ()
        if query.parameters and not self.given:
            self.notes.append("measuring was skipped: the statement has parameters and no values were given")
            return (), ()
        foreign: list[tuple[str, str]] = []
        rejected: list[Measurement] = []
        for name, text in also.items():
            try:
                foreign.append((f"also:{name}", parse(text, query.catalog).statement))
            except RewriterError as error:
                rejected.append(Measurement(f"also:{name}", error=error.message))
        if not racers and not foreign:
            return tuple(rejected), ()
        entrants = [(entrant.candidate.id, entrant.candidate.sql) for entrant in racers]
        policy = RacePolicy(timeout=self.policy.timeout, seconds=self.policy.race_seconds)
        sets = spread(self.given)
        with self.clock.stage("measure"):
            if not query.parameters:
                timed = race(
                    self.engine, query.statement, entrants, guests=foreign, policy=policy, progress=self.progress
                )
                return (*timed, *rejected), ()
            races = race_sets(
                self.engine, query.statement, entrants, sets, guests=foreign, policy=policy, progress=self.progress
            )
        told = usable(races)
        if len(races) < len(sets):
            self.notes.append(f"measured with {len(races)} of {len(sets)} sets of parameters: the time was up")
        if len(told) < len(races):
            self.notes.append(f"the original fails with {len(races) - len(told)} of {len(races)} sets of parameters")
        return (*totals(told or races), *rejected), told

    def _choose(
        self,
        racers: Sequence[Entrant],
        measurements: tuple[Measurement, ...],
        races: Sequence[SetRace],
        verifier: Verifier,
    ) -> tuple[Decision, Verdict | None]:
        """Certify whoever would win, until one holds or none is left."""
        if not any(measurement.label == "original" for measurement in measurements):
            return self._certified(racers, verifier), None
        standing = list(racers)
        policy = ChoicePolicy(self.policy.margin, VerdictKind.TESTED, regression=self.policy.regression)
        while True:
            decision = decide([(entry.candidate, entry.screening) for entry in standing], measurements, policy, races)
            winner = decision.chosen
            if winner is None:
                return decision, None
            self.progress(Event("verify", f"certifying {winner.id}"))
            with self.clock.stage("verify"):
                verdict = verifier.certify(winner.tree, seconds=self.policy.verify_seconds)
                if self._thin(verdict):
                    verdict = verifier.certify(winner.tree, seconds=PATIENCE * self.policy.verify_seconds)
            thin, blind = self._thin(verdict), self._blind(verdict)
            wrong = None
            if verdict.kind.at_least(self.policy.require) and not thin and not blind:
                wrong = self._differs_on_data(winner.sql, verifier.original) if self.policy.on_data else None
                wrong = wrong or self._weak(decision, winner, verifier.original, measurements)
                if wrong is None:
                    return decision, verdict
            reason = verdict.reason
            if wrong is not None:
                reason = wrong
            elif thin:
                reason = f"tested on fewer than the {self.policy.least_databases} databases required"
            elif blind:
                reason = f"its tests kill fewer than the {self.policy.least_killed:.0%} of mutants required"
            elif verdict.kind.accepts:
                reason = f"{verdict.kind.value} only, and {self.policy.require.value} was required"
            self.losers.append(Loser(winner, "verify", reason, verdict))
            standing = [entry for entry in standing if entry.candidate.id != winner.id]

    def _corners(self, query: Query) -> Corners:
        return Corners(
            self.engine,
            self.hunter,
            query,
            self.first,
            self.policy.timeout,
            self.policy.race_seconds,
            self.policy.seed,
            self.clock.stage,
            self.progress,
        )

    def _weak(
        self, decision: Decision, winner: Candidate, query: Query, measurements: Sequence[Measurement]
    ) -> str | None:
        """Why a winner fails with other constants, where the policy asks for that; else it is only noted."""
        if decision.speedup is None or (query.parameters and not self.given):
            return None
        corners, gain = self._corners(query), decision.speedup.ratio
        self.progress(Event("measure", f"{winner.id} with other constants"))
        if not self.policy.robust:
            self.robustness = corners.estimated(winner, gain)
            slow = slow_corner(self.robustness, 1 / self.policy.margin)
            self.notes.extend([slow] if slow is not None else [])
            return None
        wrong = corners.refuted(winner)
        if wrong is not None:
            return wrong
        own = [entry for entry in measurements if entry.label in ("original", winner.id)]
        expected = sum(entry.median or entry.stopped_after or 0.0 for entry in own)
        self.robustness = corners.measured(winner, expected, gain)
        return self.robustness.wrong or slow_corner(self.robustness, 1 / self.policy.margin)

    def _traced(self, chosen: Candidate, query: Query) -> Candidate:
        """The candidate with a verdict on each of its steps."""
        judge = self.engine if self.engine.capabilities.runs else None
        before, steps = query, []
        for number, step in enumerate(chosen.steps, start=1):
            if not step.sql:  # a model's rewrite is one step, which the verdict on the whole is about
                steps.append(step)
                continue
            self.progress(Event("verify", f"step {number} of {len(chosen.steps)}", number, len(chosen.steps)))
            with self.clock.stage("verify"):
                after = parse(step.sql, query.catalog)
                verifier = Verifier(before, self.hunter, judge, seed=self.policy.seed)
                verdict = verifier.certify(after.tree, seconds=self.policy.verify_seconds)
            steps.append(replace(step, verdict=verdict))
            before = after
        return replace(chosen, steps=tuple(steps))

    def _thin(self, verdict: Verdict) -> bool:
        """Whether a verdict rests on too few generated databases."""
        tried = verdict.adequacy.databases if verdict.adequacy is not None else 0
        return verdict.kind is VerdictKind.TESTED and tried < self.policy.least_databases

    def _differs_on_data(self, sql: str, query: Query) -> str | None:
        """Why a winner fails on the target's own data; None when it returns the same there."""
        self.progress(Event("verify", "comparing on the target's data"))
        for label, values in (spread(self.given) or {"": ()}).items():
            with self.clock.stage("verify"):
                found = Comparison(query, self.engine, self.policy.timeout, values).check(sql)
            where = f"on the target's own data{f' with the parameters of {label}' if label else ''}"
            if found.same is None:
                return f"the results {where} could not be compared within the time limit"
            if not found.same:
                return f"it returns something else {where}"
            self.notes.append(f"the same {found.rows} rows {where}, compared {found.how}")
        return None

    def _blind(self, verdict: Verdict) -> bool:
        """Whether a verdict rests on databases that kill too few of the original's mutants."""
        found = verdict.adequacy
        if verdict.kind is not VerdictKind.TESTED or found is None or not self.policy.least_killed:
            return False
        return not found.mutants or (found.killed or 0) / found.mutants < self.policy.least_killed

    def _certified(self, racers: Sequence[Entrant], verifier: Verifier) -> Decision:
        """Without measurements nobody is chosen; the first few candidates still get their full evidence."""
        for entrant in racers[:CERTIFIED_UNMEASURED]:
            self.progress(Event("verify", f"certifying {entrant.candidate.id}"))
            with self.clock.stage("verify"):
                verdict = verifier.certify(entrant.candidate.tree, seconds=self.policy.verify_seconds)
            known = "equivalent as far as known, not measured" if verdict.kind.accepts else verdict.reason
            self.losers.append(
                Loser(entrant.candidate, "measure" if verdict.kind.accepts else "verify", known, verdict)
            )
        for entrant in racers[CERTIFIED_UNMEASURED:]:
            self.losers.append(
                Loser(entrant.candidate, "measure", "passed the screening, not measured", entrant.verdict)
            )
        reason = "nothing was measured, so nothing is known to be faster" if racers else "no candidate was found"
        return Decision(None, reason)
