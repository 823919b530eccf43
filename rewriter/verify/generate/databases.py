"""Generated databases: witnesses of both queries, their neighbours, noise, and repair of every constraint."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from rewriter.catalog import Catalog
from rewriter.records import Database, TableRows, Value
from rewriter.verify.generate.checks import holds
from rewriter.verify.generate.domains import Domain, Kind
from rewriter.verify.generate.relations import Reference, Relation, RelationKey
from rewriter.verify.generate.solve import Assignment, ColumnKey, Solved
from rewriter.verify.generate.terms import Variable
from rewriter.verify.generate.walk import witness
from rewriter.verify.generate.witness import spoiled

Rows = dict[RelationKey, list[dict[str, Value]]]

MAX_ROWS = 160  # of one table; enough for the largest count threshold that is aimed at
MAX_COUNT = 120
OVERFLOWING = 0.05  # rate of databases with more rows than a LIMIT lets through
CANCELLING = (1e16, -1e16, 1.0)
KEPT = 24  # praised databases to make neighbours of


@dataclass(frozen=True)
class Profile:
    """What kind of database to make. Rates are probabilities."""

    neighbours: int  # variations of each witness
    change: float  # rate at which a variation changes a class of equal columns
    nulls: float
    noise: int  # random rows a table, at most
    duplicates: float
    dropped: float  # rate at which a row of a witness is left out
    emptied: float  # rate at which a whole table is emptied
    wild: float  # rate of extreme values in noise


PROFILES = (
    Profile(neighbours=0, change=0.0, nulls=0.0, noise=0, duplicates=0.0, dropped=0.0, emptied=0.0, wild=0.0),
    Profile(neighbours=3, change=0.12, nulls=0.0, noise=1, duplicates=0.1, dropped=0.0, emptied=0.0, wild=0.0),
    Profile(neighbours=2, change=0.3, nulls=0.1, noise=2, duplicates=0.2, dropped=0.05, emptied=0.0, wild=0.1),
    Profile(neighbours=5, change=0.15, nulls=0.05, noise=1, duplicates=0.2, dropped=0.1, emptied=0.0, wild=0.05),
    Profile(neighbours=1, change=0.2, nulls=0.3, noise=3, duplicates=0.3, dropped=0.2, emptied=0.0, wild=0.2),
    Profile(neighbours=8, change=0.1, nulls=0.0, noise=0, duplicates=0.1, dropped=0.05, emptied=0.0, wild=0.0),
    Profile(neighbours=0, change=0.0, nulls=0.1, noise=5, duplicates=0.3, dropped=0.5, emptied=0.1, wild=0.2),
    Profile(neighbours=1, change=0.2, nulls=0.6, noise=2, duplicates=0.2, dropped=0.2, emptied=0.3, wild=0.1),
)


def _calmed(profile: Profile) -> Profile:
    return replace(profile, neighbours=min(profile.neighbours, 2), change=profile.change / 4, noise=0, emptied=0.0)


class Generator:
    """An endless, seeded stream of databases for a pair of queries; satisfies every constraint of the relations except
    that a CHECK this program cannot evaluate may be broken.

    ``calm`` may be set between databases when the queries fail on most of them (a scalar subquery with two rows):
    variations are then few and small. ``praise`` tells which databases reached the queries' results.
    """

    def __init__(
        self, catalog: Catalog, relations: Sequence[Relation], queries: Sequence[exp.Query], seed: int = 0
    ) -> None:
        self.catalog = catalog
        self.relations = relations
        self.queries = queries
        self._by_key = {relation.key: relation for relation in relations}
        self._random = random.Random(seed)  # noqa: S311 (reproducible test data, not a secret)
        self._hints: dict[ColumnKey, list[Value]] = {}
        self._counter = 0
        self.calm = False
        self._praised: list[Database] = []
        self._witnesses: list[Solved] = []
        self._spoiled: list[Solved] = []
        for number in range(6 * len(queries)):
            self._discover(queries[number % len(queries)])
        # Sums over floats depend on the order of rows, so values that cancel each other would blame any rewrite;
        # without aggregates each row is computed alone, and (a + b) + c may be told from a + (b + c).
        self._row_by_row = not any(query.find(exp.AggFunc, exp.Window) for query in queries)
        self._limits = sorted({n for query in queries if (n := _limit(query)) is not None and n <= MAX_COUNT})
        self._counts = sorted({n for w in self._witnesses for n in w.witness.counts if 0 <= n <= MAX_COUNT})

    def __iter__(self) -> Iterator[Database]:
        if all(not any(relation.columns) for relation in self.relations):
            yield Database(())
            return
        yield self._finish({relation.key: [] for relation in self.relations})
        number = 0
        while True:
            if self._praised and number % 3 == 0:
                yield self._neighbour()
                number += 1
                continue
            profile = PROFILES[number % len(PROFILES)]
            yield self._database(_calmed(profile) if self.calm else profile)
            number += 1
            if number % 11 == 0 and len(self._witnesses) < 60:
                self._discover(self._random.choice(self.queries))

    def praise(self, database: Database) -> None:
        """Tell that the queries returned rows on ``database``: neighbours of it will be made."""
        self._praised.append(database)
        if len(self._praised) > KEPT:
            self._praised.pop(self._random.randrange(KEPT))

    def _neighbour(self) -> Database:
        """A praised database with a few cells changed and a few rows copied or left out."""
        chosen = self._random.choice(self._praised)
        rows: Rows = {
            (table.schema, table.table): [dict(zip(table.columns, row, strict=True)) for row in table.rows]
            for table in chosen.tables
        }
        filled = [relation for relation in self.relations if rows[relation.key]]
        for _ in range(self._random.choice((1, 1, 2, 4)) if filled else 0):
            relation = self._random.choice(filled)
            if not rows[relation.key]:
                continue
            row = self._random.choice(rows[relation.key])
            move = self._random.random()
            if move < 0.35:
                name = self._random.choice(relation.names)
                row[name] = self._random.choice(self._values(relation, name) or [None])
            elif move < 0.45:
                nullable = [name for name in relation.names if name not in relation.not_null]
                if nullable:
                    row[self._random.choice(nullable)] = None
            elif move < 0.85:
                rows[relation.key].append(self._near_copy(relation, row))
            else:
                rows[relation.key].remove(row)
        return self._finish(rows)

    def _discover(self, query: exp.Query) -> None:
        attempts = [witness(query, self.catalog, self._by_key, self._random) for _ in range(3)]
        solved = Solved(min(attempts, key=lambda made: made.contradictions))
        for column, value in solved.hints():
            known = self._hints.setdefault(column, [])
            if value not in known and len(known) < 40:
                known.append(value)
        self._witnesses.append(solved)
        for _ in range(2):
            twin = spoiled(solved.witness, self._random)
            if twin is not None:
                self._spoiled.append(Solved(twin))

    def _database(self, profile: Profile) -> Database:
        rows: Rows = {relation.key: [] for relation in self.relations}
        chosen = self._random.sample(
            self._witnesses, k=1 if self.calm else min(len(self._witnesses), self._random.choice((1, 1, 2, 3)))
        )
        count = self._random.choice(self._counts) if self._counts and self._random.random() < 0.7 else 0
        for solved in chosen:
            base = solved.assign(self._random, self._pool, self._fresh)
            self._place(solved, base, rows, 0.0 if profile.neighbours else profile.dropped)
            copies = max(0, count + self._random.choice((-1, -1, 0, 1)))
            state = base
            for _ in range(min(copies, MAX_COUNT)):
                state = solved.vary(base, self._random, self._pool, self._fresh, rate=0.0, clone=True)
                self._place(solved, state, rows, 0.0, copies=True)
            if self._limits and not self.calm and self._random.random() < OVERFLOWING:
                for _ in range(self._random.choice(self._limits) + self._random.choice((-1, 0, 1, 3))):
                    self._place(solved, solved.renewed(base, self._fresh), rows, 0.0, copies=True)
            if len(solved.cells) > 20 and self._random.random() < 0.5:
                continue
            for _ in range(self._random.randint(0, profile.neighbours) if profile.neighbours else 0):
                clone = self._random.random() < 0.25
                state = solved.vary(base, self._random, self._pool, self._fresh, rate=profile.change, clone=clone)
                self._place(solved, state, rows, profile.dropped)
        if self._spoiled and not self.calm and self._random.random() < 0.5:
            for twin in self._random.sample(self._spoiled, k=min(len(self._spoiled), self._random.choice((1, 2, 4)))):
                self._place(twin, twin.assign(self._random, self._pool, self._fresh), rows, 0.0)
        for relation in self.relations:
            for _ in range(self._random.randint(0, profile.noise)):
                rows[relation.key].append(self._noise(relation, profile))
            for row in list(rows[relation.key]):
                if self._random.random() < profile.duplicates:
                    rows[relation.key].append(self._near_copy(relation, row))
            if self._random.random() < profile.emptied:
                rows[relation.key].clear()
            if profile.nulls:
                self._blank(relation, rows[relation.key], profile.nulls)
        return self._finish(rows)

    def _place(self, solved: Solved, values: Assignment, rows: Rows, dropped: float, *, copies: bool = False) -> None:
        for relation, cells in solved.cells:
            if dropped and self._random.random() < dropped:
                continue
            row = {column: relation.domains[column].coerce(values[number]) for column, number in cells.items()}
            kept = rows[relation.key]
            if len(kept) < MAX_ROWS and ((copies and not relation.keys) or row not in kept):
                kept.append(row)

    def _pool(self, variable: Variable) -> list[Value]:
        return self._values(variable.relation, variable.column)

    def _values(self, relation: Relation, column: str) -> list[Value]:
        domain = relation.domains[column]
        common = list(domain.pool())
        hinted = self._hints.get((relation.key, column), [])
        if hinted and self._random.random() < 0.6:
            return hinted
        return common or hinted

    def _fresh(self, domain: Domain) -> Value:
        self._counter += 1
        return domain.fresh(self._counter % 5000)

    def _noise(self, relation: Relation, profile: Profile) -> dict[str, Value]:
        row: dict[str, Value] = {}
        for _ in range(10):
            for name in relation.names:
                domain = relation.domains[name]
                extremes = self._extremes(domain) if self._random.random() < profile.wild else ()
                options = extremes or self._values(relation, name)
                row[name] = self._random.choice(options) if options else None
            if _passes(relation, row):
                break
        return row

    def _extremes(self, domain: Domain) -> tuple[Value, ...]:
        return CANCELLING if self._row_by_row and domain.kind is Kind.FLOAT else domain.extremes()

    def _near_copy(self, relation: Relation, row: dict[str, Value]) -> dict[str, Value]:
        """A copy with at most one column changed, besides a fresh key where one is needed."""
        copy = dict(row)
        if relation.keys or self._random.random() < 0.4:
            name = self._random.choice(relation.names)
            options = self._values(relation, name)
            if options:
                copy[name] = self._random.choice(options)
        return copy

    def _blank(self, relation: Relation, rows: list[dict[str, Value]], rate: float) -> None:
        nullable = [name for name in relation.names if name not in relation.not_null]
        for row in rows:
            for name in nullable:
                if self._random.random() < rate:
                    row[name] = None

    def _finish(self, rows: Rows) -> Database:
        for relation in self.relations:
            rows[relation.key] = self._admit(relation, rows[relation.key])
        for _ in range(4):
            if not self._adopt(rows):
                break
        prune(self.relations, rows)
        return Database(
            tuple(
                TableRows(
                    relation.table.name,
                    relation.names,
                    tuple(tuple(row[name] for name in relation.names) for row in rows[relation.key]),
                    relation.table.schema,
                )
                for relation in self.relations
            )
        )

    def _admit(self, relation: Relation, rows: list[dict[str, Value]]) -> list[dict[str, Value]]:
        """The rows that keep NOT NULL, CHECK and keys, repaired where that is easy."""
        taken: dict[tuple[str, ...], set[tuple[Value, ...]]] = {key: set() for key in relation.keys}
        admitted = []
        for row in rows:
            for name in relation.not_null:
                if row[name] is None:
                    options = self._values(relation, name)
                    row[name] = self._random.choice(options) if options else self._fresh(relation.domains[name])
            if any(row[name] is None for name in relation.not_null) or not _passes(relation, row):
                continue
            if self._claim(relation, row, taken):
                admitted.append(row)
        return admitted

    def _claim(
        self, relation: Relation, row: dict[str, Value], taken: Mapping[tuple[str, ...], set[tuple[Value, ...]]]
    ) -> bool:
        for key in relation.keys:
            for _ in range(4):
                if not _clashes(row, key, taken[key]):
                    break
                bound = {column for reference in relation.references for column in reference.columns}
                loose = [column for column in key if column not in bound] or list(key)
                column = self._random.choice(loose)
                row[column] = self._fresh(relation.domains[column])
        if any(_clashes(row, key, taken[key]) for key in relation.keys) or not _passes(relation, row):
            return False
        for key in relation.keys:
            value = tuple(row[column] for column in key)
            if None not in value:
                taken[key].add(value)
        return True

    def _adopt(self, rows: Rows) -> bool:
        """Repair foreign keys: children before parents, so that a new parent can itself be repaired."""
        changed = False
        for relation in reversed(self.relations):
            for reference in relation.references:
                known = _values_of(rows[reference.parent], reference.referenced)
                for row in rows[relation.key]:
                    value = tuple(row[column] for column in reference.columns)
                    if None in value or value in known:
                        continue
                    changed = True
                    self._repair(relation, reference, row, value, rows)
                    known = _values_of(rows[reference.parent], reference.referenced)
        return changed

    def _repair(
        self, relation: Relation, reference: Reference, row: dict[str, Value], value: tuple[Value, ...], rows: Rows
    ) -> None:
        parent = self._by_key[reference.parent]
        siblings = rows[parent.key]
        loose = [c for c in reference.columns if c not in relation.not_null]
        if loose and self._random.random() < 0.1:
            row[self._random.choice(loose)] = None
            return
        in_key = any(column in key for key in relation.keys for column in reference.columns)
        if siblings and not in_key and self._random.random() < 0.3:
            chosen = self._random.choice(siblings)
            for column, referenced in zip(reference.columns, reference.referenced, strict=True):
                row[column] = chosen[referenced]
            return
        made = dict(self._random.choice(siblings)) if siblings and self._random.random() < 0.6 else None
        if made is None:
            made = self._noise(parent, PROFILES[0])
        made.update(zip(reference.referenced, value, strict=True))
        taken = {key: _values_of(siblings, key) for key in parent.keys}
        others = [key for key in parent.keys if set(key) != set(reference.referenced)]
        for key in others:
            if _clashes(made, key, taken[key]):
                free = [column for column in key if column not in reference.referenced]
                if not free:
                    return
                made[free[0]] = self._fresh(parent.domains[free[0]])
        if all(made[name] is not None for name in parent.not_null) and _passes(parent, made):
            siblings.append(made)


def _limit(query: exp.Query) -> int | None:
    """The number of rows that the query returns at most, where it says so."""
    limit = query.args.get("limit")
    value = limit.expression if isinstance(limit, exp.Limit) else None
    return int(value.name) if isinstance(value, exp.Literal) and value.name.isdigit() else None


def prune(relations: Sequence[Relation], rows: Rows) -> None:
    """Delete rows without their foreign-key parent until none is left."""
    changed = True
    while changed:
        changed = False
        for relation in relations:
            for reference in relation.references:
                known = _values_of(rows[reference.parent], reference.referenced)
                kept = [
                    row
                    for row in rows[relation.key]
                    if None in (value := tuple(row[c] for c in reference.columns)) or value in known
                ]
                if len(kept) < len(rows[relation.key]):
                    rows[relation.key] = kept
                    changed = True


def _values_of(rows: list[dict[str, Value]], columns: Sequence[str]) -> set[tuple[Value, ...]]:
    return {value for row in rows if None not in (value := tuple(row[column] for column in columns))}


def _clashes(row: Mapping[str, Value], key: Sequence[str], taken: set[tuple[Value, ...]]) -> bool:
    value = tuple(row[column] for column in key)
    return None not in value and value in taken


def _passes(relation: Relation, row: Mapping[str, Value]) -> bool:
    if not relation.checks:
        return True
    lowered = {name.lower(): value for name, value in row.items()}
    return all(holds(check, lowered) for check in relation.checks)
