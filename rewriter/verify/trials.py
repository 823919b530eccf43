"""Running both queries on generated databases and deciding what a run says."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from rewriter.catalog import Catalog
from rewriter.engines.base import Engine, Limits, Outcome
from rewriter.errors import BindError, EngineError, ExecutionError
from rewriter.records import Database, Result, TableRows
from rewriter.verify.generate.checks import violations
from rewriter.verify.generate.relations import Relation
from rewriter.verify.reference import Reference
from rewriter.verify.ties import shaken

LIMITS = Limits(seconds=2.0, rows=20_000)
SHUFFLES = 3
SHAKES = 3  # for each physical order


@dataclass(frozen=True)
class Trial:
    """One database with the reference's outcome on it."""

    database: Database
    outcome: Outcome

    @property
    def telling(self) -> bool:
        """Whether the original ran to its end here."""
        return isinstance(self.outcome, Result) and not self.outcome.truncated

    @property
    def non_empty(self) -> bool:
        """Whether the original returned something here: a row with a value besides NULL and zero (an aggregate without
        GROUP BY always returns a row)."""
        if not isinstance(self.outcome, Result):
            return False
        return any(value is not None and value != 0 for row in self.outcome.rows for value in row)


def differ(reference: Reference, original: Outcome, candidate: Outcome) -> bool:
    """Whether the two outcomes on one database are a difference. A database on which the original fails says nothing;
    so does one on which the candidate runs out of time or memory."""
    if not isinstance(original, Result) or original.truncated:
        return False
    if isinstance(candidate, EngineError):
        return isinstance(candidate, ExecutionError)
    return not candidate.truncated and not reference.allows(original, candidate)


@dataclass(frozen=True)
class Bench:
    """One engine on which both queries can be run."""

    engine: Engine
    catalog: Catalog
    reference: Reference
    relations: Sequence[Relation]

    def run(self, databases: Sequence[Database], *queries: exp.Query) -> list[list[Outcome]]:
        """``result[d][q]``. Databases that the engine cannot even load say nothing."""
        if not databases:
            return []
        try:
            return self.engine.run_on(self.catalog, databases, queries, LIMITS)
        except EngineError as error:
            return [[error for _ in queries] for _ in databases]

    def trials(self, databases: Sequence[Database]) -> list[Trial]:
        outcomes = self.run(databases, self.reference.query)
        return [Trial(database, row[0]) for database, row in zip(databases, outcomes, strict=True)]

    def first_difference(self, databases: Sequence[Database], candidate: exp.Query) -> int | None:
        """The position of the first database on which the candidate really differs (see ``stands``)."""
        for position, row in enumerate(self.run(databases, self.reference.query, candidate)):
            if differ(self.reference, row[0], row[1]) and self.stands(databases[position], candidate):
                return position
        return None

    def stands(self, database: Database, candidate: exp.Query) -> bool:
        """Whether a difference is no accident: the original says the same on the same rows in other physical orders
        and with its inner ties decided at random, the candidate differs at least once, and every CHECK holds."""
        twin = shaken(self.reference.query)
        twins = [] if twin is None else [twin] * SHAKES
        outcomes = self.run([database, *reorderings(database)], self.reference.query, candidate, *twins)
        first = outcomes[0][0]
        if not isinstance(first, Result):
            return False
        for row in outcomes:
            if not isinstance(row[0], Result) or not self.reference.agrees(first, row[0]):
                return False
            for shaken_answer in row[2:]:  # an error here is one of the twin and says nothing
                if isinstance(shaken_answer, Result) and not self.reference.agrees(first, shaken_answer):
                    return False
        if not any(differ(self.reference, row[0], row[1]) for row in outcomes):
            return False
        return self.valid(database)

    def valid(self, database: Database) -> bool:
        """Whether the engine finds no CHECK broken."""
        checks = [
            violations(check, exp.table_(relation.table.name, db=relation.table.schema, quoted=True))
            for relation in self.relations
            for check in relation.checks
        ]
        if not checks:
            return True
        (outcomes,) = self.run([database], *checks)
        return all(isinstance(outcome, Result) and not outcome.rows for outcome in outcomes)

    def unusable(self) -> EngineError | None:
        """The error with which this engine refuses the original before it sees any data, if it does."""
        empty = Database(tuple(TableRows(r.table.name, r.names, (), r.table.schema) for r in self.relations))
        (row,) = self.run([empty], self.reference.query)
        return row[0] if isinstance(row[0], BindError) else None


def reorderings(database: Database) -> list[Database]:
    """The same rows in other physical orders: reversed, and shuffled a few times."""
    orders = [_reordered(database, lambda rows: rows[::-1])]
    for number in range(SHUFFLES):
        shuffler = random.Random(number)  # noqa: S311 (reproducible test data, not a secret)
        orders.append(_reordered(database, lambda rows, r=shuffler: tuple(r.sample(rows, len(rows)))))
    return orders


def _reordered(database: Database, order: object) -> Database:
    assert callable(order)
    return Database(tuple(replace(table, rows=order(table.rows)) for table in database.tables))
