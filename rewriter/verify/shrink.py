"""Make a counterexample smaller while it stays one: delete rows, then simplify values.

Greedy, in batches: all deletions of one round run together, the first that keeps the difference is taken. Rows of a
parent go together with the rows that refer to them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from rewriter.records import Database, TableRows, Value
from rewriter.verify.generate.checks import holds
from rewriter.verify.generate.databases import Rows, prune
from rewriter.verify.generate.domains import Domain
from rewriter.verify.generate.relations import Relation

BATCH = 16

StillDiffers = Callable[[Sequence[Database]], int | None]
"""Of some databases, the position of the first on which the two queries still differ."""


def shrink(database: Database, relations: Sequence[Relation], still_differs: StillDiffers, deadline: float) -> Database:
    """The smallest database reached before ``deadline`` (time.monotonic seconds)."""
    for halve in (True, False):
        database = _delete(database, relations, still_differs, deadline, halve)
    return _simplify(database, relations, still_differs, deadline)


def _delete(
    database: Database, relations: Sequence[Relation], still_differs: StillDiffers, deadline: float, halve: bool
) -> Database:
    shrunk = True
    while shrunk and time.monotonic() < deadline:
        shrunk = False
        options = list(_smaller(database, relations, halve))
        for start in range(0, len(options), BATCH):
            if time.monotonic() > deadline:
                break
            batch = options[start : start + BATCH]
            found = still_differs(batch)
            if found is not None:
                database, shrunk = batch[found], True
                break
    return database


def _smaller(database: Database, relations: Sequence[Relation], halve: bool) -> Iterator[Database]:
    """Databases with fewer rows, the smallest first where halves are cut."""
    for position, table in sorted(enumerate(database.tables), key=lambda item: -len(item[1].rows)):
        count = len(table.rows)
        if halve and count < 4:
            continue
        pieces = [range(count // 2), range(count // 2, count)] if halve else [range(n, n + 1) for n in range(count)]
        for piece in pieces:
            kept = tuple(row for number, row in enumerate(table.rows) if number not in piece)
            yield _pruned(database, relations, position, kept)


def _pruned(
    database: Database, relations: Sequence[Relation], position: int, kept: tuple[tuple[Value, ...], ...]
) -> Database:
    by_key = {relation.key: relation for relation in relations}
    rows: Rows = {}
    for number, table in enumerate(database.tables):
        chosen = kept if number == position else table.rows
        rows[table.schema, table.table] = [dict(zip(table.columns, row, strict=True)) for row in chosen]
    prune(relations, rows)
    return Database(
        tuple(
            TableRows(
                table.table,
                table.columns,
                tuple(tuple(row[c] for c in table.columns) for row in rows[by_key[table.schema, table.table].key]),
                table.schema,
            )
            for table in database.tables
        )
    )


def _simplify(
    database: Database, relations: Sequence[Relation], still_differs: StillDiffers, deadline: float
) -> Database:
    """Try the simplest value of its type in each cell; NULL where nothing depends on the cell."""
    by_key = {relation.key: relation for relation in relations}
    for position, table in enumerate(database.tables):
        relation = by_key[table.schema, table.table]
        fixed = _tied(relation, relations)
        for column, name in enumerate(table.columns):
            if name in fixed:
                continue
            for number in range(len(table.rows)):
                if time.monotonic() > deadline:
                    return database
                current = database.tables[position].rows[number]
                options = []
                for value in _simpler(relation.domains[name], current[column]):
                    row = (*current[:column], value, *current[column + 1 :])
                    if all(holds(check, _lowered(table.columns, row)) for check in relation.checks):
                        options.append(_replaced(database, position, number, row))
                found = still_differs(options) if options else None
                if found is not None:
                    database = options[found]
    return database


def _tied(relation: Relation, relations: Sequence[Relation]) -> set[str]:
    """Columns whose values other rows depend on: keys and foreign keys."""
    tied = {column for key in relation.keys for column in key}
    tied |= {column for reference in relation.references for column in reference.columns}
    for other in relations:
        for reference in other.references:
            if reference.parent == relation.key:
                tied |= set(reference.referenced)
    return tied


def _simpler(domain: Domain, value: Value) -> Iterator[Value]:
    """Values plainer than ``value``: a small one of the pool. NULL stays NULL, for it is seldom there by chance."""
    if value is None:
        return
    pool = domain.pool()
    if value in pool:
        pool = pool[: pool.index(value)]
    yield from pool[:2]


def _lowered(columns: Sequence[str], row: Sequence[Value]) -> dict[str, Value]:
    return {name.lower(): value for name, value in zip(columns, row, strict=True)}


def _replaced(database: Database, position: int, number: int, row: tuple[Value, ...]) -> Database:
    table = database.tables[position]
    rows = (*table.rows[:number], row, *table.rows[number + 1 :])
    changed = TableRows(table.table, table.columns, rows, table.schema)
    return Database((*database.tables[:position], changed, *database.tables[position + 1 :]))
