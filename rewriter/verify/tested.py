"""The rung ``tested``: hunt for a database on which the two queries differ; count what was tried when none is found."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain, islice

from sqlglot import exp
from sqlglot.errors import SqlglotError

from rewriter.engines import DuckDB, scratch
from rewriter.engines.base import Engine
from rewriter.errors import BindError, EngineError
from rewriter.records import Adequacy, Counterexample, Database, Query, Result, Verdict, VerdictKind
from rewriter.verify import shape
from rewriter.verify.adequacy import tally
from rewriter.verify.clauses import MOST_TRIED, exchanged
from rewriter.verify.generate import Generator, relations
from rewriter.verify.mutants import mutants
from rewriter.verify.reference import reference
from rewriter.verify.script import scripts
from rewriter.verify.shrink import shrink
from rewriter.verify.trials import Bench, Trial, differ
from rules.facts import Facts

log = logging.getLogger(__name__)

POOL = 32  # databases that every candidate of a query is screened on
POOL_TRIED = 160  # made to choose them from
POOL_SECONDS = 2.0
PATIENCE = 4  # how much more is spent while the original has returned nothing at all
BATCH = 16
FIRST = 6  # databases of the pool that run first, because most wrong candidates fall there
ENOUGH = 640  # databases after which a certificate gains little
JUDGED = 12  # databases on which a winner is tested again on the judge
KEPT = 48  # databases on which the original's mutants are run
RESERVED = {True: 0.6, False: 0.75}  # share of a certificate's time that new databases get, with a judge and without
LEAST_ADEQUACY = 1.0  # seconds that the mutants get even when the time is up
SHRINK_SECONDS = {"screen": 0.5, "certify": 3.0}

METHOD = "tested"


class Tester:
    """The databases, the original's answers on them, and the engines, for one original query."""

    def __init__(self, original: Query, hunter: Engine, judge: Engine | None, *, seed: int, by_position: bool) -> None:
        self.original = original
        self.seed = seed
        self.names = None if by_position else shape.stated_names(original.stated)
        self.hunter = hunter
        self.judge = None if judge is hunter else judge
        self._pool: list[Trial] | None = None
        self._refused: EngineError | None = None

    def screen(self, candidate: exp.Query, deadline: float, *, judged: bool = False) -> Verdict:
        """Run the candidate on the pool; ``judged``: on the judge as well."""
        hunt = self._hunt(candidate, deadline, "screen")
        if isinstance(hunt, Verdict):
            return hunt
        return hunt.over_pool() or (hunt.on_judge() if judged else None) or hunt.survived()

    def hammer(self, candidate: exp.Query, deadline: float, databases: int) -> Verdict:
        """Run the candidate on the pool and on new databases until ``databases`` have told something."""
        hunt = self._hunt(candidate, deadline, "certify")
        if isinstance(hunt, Verdict):
            return hunt
        return hunt.over_pool() or hunt.over_new(databases) or hunt.survived()

    def certify(self, candidate: exp.Query, deadline: float, *, weighed: bool = True) -> Verdict:
        """Run the candidate on the pool, then on databases made for this pair, then on the judge; ``weighed``: then run
        the original's mutants on the same databases."""
        hunt = self._hunt(candidate, deadline, "certify")
        if isinstance(hunt, Verdict):
            return hunt
        verdict = hunt.over_pool() or hunt.over_new() or hunt.on_judge()
        if verdict is not None:
            return verdict
        return hunt.judged_by_mutants(hunt.survived()) if weighed else hunt.survived()

    def replay(self, candidate: exp.Query, databases: Sequence[Database], deadline: float) -> Verdict | None:
        """Run both queries on databases where somebody suspects a difference; the verdict if there is one."""
        hunt = self._hunt(candidate, deadline, "certify")
        if isinstance(hunt, Verdict) or not databases:
            return None
        outcomes = hunt.bench.run(databases, hunt.bench.reference.query, candidate)
        trials = [Trial(database, row[0]) for database, row in zip(databases, outcomes, strict=True)]
        return hunt.judged_on(trials, [row[1] for row in outcomes])

    def bench(self, engine: Engine, candidate: exp.Query | None = None) -> Bench:
        """``engine`` with the original as it is best put to it: as stated in its own dialect; in another one as the
        qualified tree, whose types the translation needs."""
        original = self.original
        stated = engine.dialect == original.dialect
        trees = (original.stated, original.tree) + ((candidate,) if candidate is not None else ())
        return Bench(
            engine,
            original.catalog,
            reference(original.stated if stated else original.tree, len(original.columns) or None),
            relations(original.catalog, trees),
        )

    def _hunt(self, candidate: exp.Query, deadline: float, effort: str) -> _Hunt | Verdict:
        if self._pool is None:
            patience = PATIENCE * POOL_SECONDS
            if effort == "certify":
                patience = min(patience, 0.6 * (deadline - time.monotonic()))
            self._pool = self._made_pool(patience)
        bench = self.bench(self.hunter, candidate)
        if self._refused is not None:
            reason = f"the original does not run on {bench.engine.name}: {self._refused.message}"
            return Verdict(VerdictKind.UNKNOWN, METHOD, reason)
        pool = self._pool
        if bench.relations != self.bench(self.hunter).relations:
            pool = _pool(bench, self.original, self.seed, POOL_SECONDS)  # the candidate reads more than the original
        return _Hunt(self, candidate, bench, pool, deadline, effort)

    def _made_pool(self, patience: float) -> list[Trial]:
        bench = self.bench(self.hunter)
        self._refused = bench.unusable()
        if self._refused is not None and self.judge is not None:
            bench = self.bench(self.judge)
            if bench.unusable() is None:  # the target understands what DuckDB does not: hunt there
                self.hunter, self.judge, self._refused = self.judge, None, None
        return [] if self._refused is not None else _pool(bench, self.original, self.seed, patience)


def _pool(bench: Bench, original: Query, seed: int, patience: float) -> list[Trial]:
    """Databases on which the original says much, different from each other, and some on which it says nothing.

    ``patience``: seconds that may be spent while the original has returned nothing at all.
    """
    generator = Generator(original.catalog, bench.relations, (original.tree,), seed)
    stream = iter(generator)
    started = time.monotonic()
    speaking: list[Trial] = []
    silent: list[Trial] = []
    tried = 0
    while len(speaking) < 3 * POOL:
        spent = time.monotonic() - started
        if speaking and (tried >= POOL_TRIED or spent > min(POOL_SECONDS, patience)):
            break
        if tried >= PATIENCE * POOL_TRIED or spent > patience:
            break
        batch = list(islice(stream, BATCH))
        if not batch:
            break
        tried += len(batch)
        failed = 0
        for trial in bench.trials(batch):
            failed += not trial.telling
            if trial.non_empty:
                generator.praise(trial.database)
            if trial.telling:
                (speaking if trial.non_empty else silent).append(trial)
        generator.calm = failed > BATCH // 3
    speaking.sort(key=lambda trial: -_variety(trial))
    chosen = _spread(speaking, POOL - min(len(silent), POOL // 8))
    return chosen + silent[: max(0, POOL - len(chosen))]


def _variety(trial: Trial) -> int:
    return len(set(map(repr, trial.outcome.rows))) if isinstance(trial.outcome, Result) else 0


def _spread(trials: list[Trial], count: int) -> list[Trial]:
    """``count`` trials evenly from a sorted list, starting with the first."""
    if len(trials) <= count:
        return trials
    step = len(trials) / count
    return [trials[int(number * step)] for number in range(count)]


@dataclass
class _Hunt:
    """One candidate's way over databases; remembers what was tried."""

    tester: Tester
    candidate: exp.Query
    bench: Bench
    pool: Sequence[Trial]
    deadline: float
    effort: str
    databases: int = 0
    non_empty: int = 0
    doubtful: int = 0
    judged: bool = False
    refused: EngineError | None = None
    shaped: bool = False
    selection: list[Trial] = field(default_factory=list)
    tried: list[Trial] = field(default_factory=list)

    def over_pool(self) -> Verdict | None:
        for part in (self.pool[:FIRST], self.pool[FIRST:]):
            outcomes = self.bench.run([trial.database for trial in part], self.candidate)
            verdict = self.judged_on(part, [row[0] for row in outcomes])
            if verdict is not None:
                return verdict
            if time.monotonic() > self.deadline:
                break
        return None

    def over_new(self, enough: int = ENOUGH) -> Verdict | None:
        """Databases steered by both queries, until the time is up or enough have been tried."""
        original = self.tester.original
        queries = (original.tree, self.candidate)
        generator = Generator(original.catalog, self.bench.relations, queries, self.tester.seed + 1)
        stream: Iterator[Database] = iter(generator)
        until = time.monotonic() + (self.deadline - time.monotonic()) * RESERVED[self.tester.judge is not None]
        while self.databases < enough and time.monotonic() < until:
            batch = list(islice(stream, BATCH))
            if not batch:
                break
            outcomes = self.bench.run(batch, self.bench.reference.query, self.candidate)
            trials = [Trial(database, row[0]) for database, row in zip(batch, outcomes, strict=True)]
            verdict = self.judged_on(trials, [row[1] for row in outcomes])
            if verdict is not None:
                return verdict
            generator.calm = sum(not trial.telling for trial in trials) > BATCH // 3
            for trial in trials:
                if trial.non_empty:
                    generator.praise(trial.database)
        return None

    def on_judge(self) -> Verdict | None:
        """Test a survivor again on the target's own engine."""
        judge = self.tester.judge
        if judge is None or not self.selection:
            return None
        bench = self.tester.bench(judge, self.candidate)
        chosen = _spread(sorted(self.selection, key=lambda trial: -_variety(trial)), JUDGED)
        databases = [trial.database for trial in chosen]
        outcomes = bench.run(databases, bench.reference.query, self.candidate)
        self.judged = True
        for database, row in zip(databases, outcomes, strict=True):
            if isinstance(row[0], Result) and isinstance(row[1], Result):
                fault = self._shape_fault(row[0], row[1])
                if fault is not None:
                    return fault
            if isinstance(row[1], BindError):
                return Verdict(VerdictKind.UNKNOWN, METHOD, f"the candidate does not bind: {row[1].message}")
            if differ(bench.reference, row[0], row[1]) and bench.stands(database, self.candidate):
                return self._refuted(bench, database, (judge.name,))
        return None

    def survived(self) -> Verdict:
        adequacy = Adequacy(self.databases, self.non_empty)
        names: tuple[str, ...] = (self.bench.engine.name,)
        if self.judged and self.tester.judge is not None:
            names += (self.tester.judge.name,)
        if self.refused is not None:
            reason = f"the candidate does not run on {names[0]}: {self.refused.message}"
            return Verdict(VerdictKind.UNKNOWN, METHOD, reason, adequacy)
        if not self.bench.relations and self.databases:
            reason = "the queries read no table, and their answers are the same"
            return Verdict(VerdictKind.TESTED, METHOD, reason, adequacy, confirmed_on=names)
        if not self.databases:
            reason = "on every generated database the original fails or its answer depends on the order of the rows"
            return Verdict(VerdictKind.UNKNOWN, METHOD, reason, adequacy)
        if not self.non_empty:
            reason = f"the original returned nothing on all {self.databases} generated databases"
            return Verdict(VerdictKind.UNKNOWN, METHOD, reason, adequacy, confirmed_on=names)
        if self.doubtful:
            reason = f"answers differed on {self.doubtful} databases where the original's own answer is not determined"
            if self.doubtful * 2 > self.databases:
                return Verdict(VerdictKind.UNKNOWN, METHOD, reason, adequacy, confirmed_on=names)
        reason = (
            f"no difference on {self.databases} generated databases; the original returned rows on {self.non_empty}"
        )
        return Verdict(VerdictKind.TESTED, METHOD, reason, adequacy, confirmed_on=names)

    def judged_by_mutants(self, verdict: Verdict) -> Verdict:
        """``verdict``, with the share of the original's mutants that the same databases kill."""
        if verdict.kind is not VerdictKind.TESTED or verdict.adequacy is None:
            return verdict
        until = max(self.deadline, time.monotonic() + LEAST_ADEQUACY)
        original = self.tester.original
        try:
            made = mutants(original.tree, Facts(original.catalog), self.tester.seed)
        except (SqlglotError, AssertionError, LookupError, TypeError, ValueError, AttributeError, RecursionError):
            log.exception("the original cannot be mutated; the certificate says nothing of mutants")
            return verdict
        found = tally(self.bench, self.tried, made, until)
        return replace(
            verdict,
            adequacy=replace(verdict.adequacy, mutants=found.tried, killed=found.killed, alive=found.alive),
        )

    def judged_on(self, trials: Sequence[Trial], answers: Sequence[Result | EngineError]) -> Verdict | None:
        for trial, answer in zip(trials, answers, strict=True):
            if not trial.telling:
                continue
            if isinstance(answer, BindError):
                self.refused = answer
                return self.survived()
            self.databases += 1
            if len(self.tried) < KEPT:
                self.tried.append(trial)
            self.non_empty += trial.non_empty
            if trial.non_empty and len(self.selection) < 4 * JUDGED:
                self.selection.append(trial)
            if not self.shaped and isinstance(trial.outcome, Result) and isinstance(answer, Result):
                self.shaped = True
                fault = self._shape_fault(trial.outcome, answer)
                if fault is not None:
                    return fault
            if not differ(self.bench.reference, trial.outcome, answer):
                continue
            confirmed = self._confirmed(trial.database)
            verdict = self._refuted(self.bench, trial.database, confirmed) if confirmed is not None else None
            if verdict is not None:
                return verdict
            self.doubtful += 1
            if self.doubtful > 24:
                return self.survived()
        return None

    def _shape_fault(self, original: Result, answer: Result) -> Verdict | None:
        width = self.bench.reference.width
        if width is not None:
            original = Result(original.columns[:width], original.types[:width], ())
        fault = shape.differs(original, answer, self.tester.names)
        if fault is None:
            return None
        return Verdict(VerdictKind.REFUTED, "shape", fault, confirmed_on=(self.bench.engine.name,))

    def _confirmed(self, database: Database) -> tuple[str, ...] | None:
        """The engines that agree on a difference, or None if it does not count."""
        if not self.bench.stands(database, self.candidate):
            return None
        judge = self.tester.judge
        if judge is None:
            return (self.bench.engine.name,)  # ``_shrunk`` asks DuckDB without its optimizer, on fewer rows
        bench = self.tester.bench(judge, self.candidate)
        if not bench.stands(database, self.candidate):
            return None
        return (self.bench.engine.name, judge.name)

    def _confirmed_plainly(self, database: Database) -> bool:
        """Without a judge: DuckDB must show the difference with its optimizer switched off as well, and the original's
        answer must be the same there."""
        if self.tester.judge is not None or not isinstance(self.bench.engine, DuckDB):
            return True
        with closing(scratch(optimizer=False)) as plain:
            bench = self.tester.bench(plain, self.candidate)
            (here,), (there,) = (b.run([database], b.reference.query)[0] for b in (self.bench, bench))
            agreed = isinstance(here, Result) and isinstance(there, Result) and bench.reference.agrees(here, there)
            return agreed and bench.stands(database, self.candidate)

    def _shrunk(self, bench: Bench, database: Database, confirmed: tuple[str, ...]) -> Database | None:
        """The smallest database found on which the difference counts; None when it counts on none."""
        until = time.monotonic() + SHRINK_SECONDS[self.effort]
        small = shrink(database, bench.relations, lambda batch: bench.first_difference(batch, self.candidate), until)
        for found in (small, database) if small is not database else (database,):
            known = found is database or len(confirmed) == 1 or self._confirmed(found) is not None
            if known and self._confirmed_plainly(found):
                return found
        return None

    def _refuted(self, bench: Bench, database: Database, confirmed: tuple[str, ...]) -> Verdict | None:
        small = self._shrunk(bench, database, confirmed)
        if small is None:
            return None
        original = self.tester.original
        (outcomes,) = bench.run([small], original.stated, bench.reference.query, self.candidate)
        shown = outcomes[0] if isinstance(outcomes[0], Result) else outcomes[1]
        answer = outcomes[2]
        assert isinstance(shown, Result)
        if isinstance(answer, Result):
            difference = f"the original returns {_rows(shown)}, the candidate {_rows(answer)}"
            if len(shown.rows) == len(answer.rows):
                difference += (
                    " with other values"
                    if sorted(map(repr, shown.rows)) != sorted(map(repr, answer.rows))
                    else " in another order"
                )
        else:
            difference = f"the original returns {_rows(shown)}, the candidate fails: {answer.message}"
            answer = Result((), (), ())
        found = Counterexample(
            small,
            shown,
            answer,
            scripts(original.dialect, bench.relations, small, original.stated, self.candidate),
            confirmed,
            f"On a database of {_counted(small.size)} {difference}.{self._blamed(bench, small)}",
        )
        adequacy = Adequacy(self.databases, self.non_empty)
        return Verdict(VerdictKind.REFUTED, METHOD, found.explanation, adequacy, found, (), confirmed)

    def _blamed(self, bench: Bench, database: Database) -> str:
        """One sentence on the clause that makes the difference; empty where that cannot be told."""
        original = self.tester.original
        made = (exchanged(query, self.candidate) for query in (original.stated, original.tree))
        tried = list(islice(chain.from_iterable(made), MOST_TRIED))
        (outcomes,) = bench.run([database], bench.reference.query, *(query for _, query in tried))
        for (clause, _), outcome in zip(tried, outcomes[1:], strict=True):
            if isinstance(outcome, Result) and not differ(bench.reference, outcomes[0], outcome):
                return f" What makes the difference is {clause}: with the original's there, both return the same."
        return ""


def _rows(result: Result) -> str:
    return _counted(len(result.rows))


def _counted(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows} rows"
