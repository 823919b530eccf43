"""What a catalog promises of the rows of its tables, as the prover reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp
from sqlglot.errors import SqlglotError

from rewriter.catalog import Catalog, Table
from rewriter.verify.sums.known import check
from rewriter.verify.sums.rows import Columns, Queries, Scope, table_columns, table_key
from rewriter.verify.sums.scalar import falsity
from rewriter.verify.sums.sorts import Unsupported
from rewriter.verify.sums.terms import Cell, Expr, Variable, fresh, negated


@dataclass(frozen=True)
class ForeignKey:
    """A row of ``child`` whose ``columns`` are not NULL has a row of ``parent`` that they are equal to."""

    child: str
    columns: tuple[str, ...]
    parent: str
    referenced: tuple[str, ...]


@dataclass(frozen=True)
class Check:
    """``condition`` holds for every row; it speaks of the row as ``row``. ``text``: as declared."""

    row: int
    condition: Expr
    text: str


@dataclass(frozen=True)
class Constraints:
    """By table: its columns, as cells of no row in particular, its keys, its checks; and foreign keys."""

    columns: Mapping[str, Mapping[str, Cell]]
    keys: Mapping[str, Sequence[tuple[str, ...]]]
    checks: Mapping[str, Sequence[Check]]
    foreign: Sequence[ForeignKey]

    def cell(self, row: Variable, column: str) -> Cell:
        """A column of a row."""
        assert row.table is not None
        return replace(self.columns[row.table][column], variable=row.id)


def constraints(catalog: Catalog, translator: Queries) -> Constraints:
    """The promises of ``catalog``; a check that cannot be expressed is left out."""
    tables = [table for table in catalog.tables if not table.is_view]
    cells = {table_key(table): table_columns(table, 0, catalog.dialect).values() for table in tables}
    return Constraints(
        {name: {cell.column: cell for cell in columns} for name, columns in cells.items()},
        {table_key(table): tuple(key for key in (table.primary_key, *table.unique) if key) for table in tables},
        {table_key(table): _checks(table, translator) for table in tables},
        _foreign_keys(catalog),
    )


def _checks(table: Table, translator: Queries) -> list[Check]:
    row = fresh(table_key(table))
    columns: Columns = {**table_columns(table, row.id, translator.dialect)}
    scope = Scope(translator, ((table.name, columns),), None, {})
    found = []
    for text in table.checks:
        try:
            tree: exp.Expr = exp.maybe_parse(text, dialect=translator.dialect)
            check(tree)
            # A check is satisfied when it is not false.
            condition = negated(falsity(tree, scope))
        except (Unsupported, SqlglotError):
            continue
        if not condition.nested:
            found.append(Check(row.id, condition, f"check {table_key(table)}: {text}"))
    return found


def _foreign_keys(catalog: Catalog) -> list[ForeignKey]:
    found = []
    for table in catalog.tables:
        for key in table.foreign_keys:
            parent = catalog.find(key.table, key.schema or table.schema)
            if parent is not None:
                found.append(ForeignKey(table_key(table), key.columns, table_key(parent), key.referenced))
    return found
