"""Generated databases on an engine: as loaded tables (DuckDB) or, where nothing may be written, as common table
expressions of typed rows that the query's base-table references are renamed to (Postgres).
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from decimal import Decimal

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from rewriter.catalog import Catalog, Table
from rewriter.records import Database, TableRows, Value
from rules.sites import grouping_sets

PREFIX = "generated_"


def base_tables(query: exp.Query) -> Iterator[exp.Table]:
    """The nodes of ``query`` that name a base table: every table that is no reference to a CTE in scope."""
    seen: set[int] = set()
    for scope in traverse_scope(query):
        for table in scope.tables:
            if id(table) in seen or not table.name:
                continue
            seen.add(id(table))
            if not table.args.get("db") and _names_cte(scope, table.name):
                continue
            yield table


def _names_cte(scope: Scope, name: str) -> bool:
    source = scope.cte_sources.get(name)
    return source is not None


def with_grouped_dependents(query: exp.Query, catalog: Catalog) -> exp.Query:
    """``query`` with the columns that GROUP BY leaves to a primary key added to it.

    Postgres lets a SELECT list name columns that a grouped primary key determines (SQL:1999 feature T301); generated
    tables declare no keys, and DuckDB does not know the feature. The groups stay the same.
    """
    copy = query.copy()
    for scope in traverse_scope(copy):
        select = scope.expression
        group = select.args.get("group") if isinstance(select, exp.Select) else None
        if group is None or grouping_sets(select):
            continue
        grouped = {
            (column.table, column.name)
            for column in group.expressions
            if isinstance(column, exp.Column) and column.table
        }
        for alias, source in scope.sources.items():
            if not isinstance(source, exp.Table):
                continue
            table = catalog.find(source.name, source.db or None)
            if table is None or not table.primary_key:
                continue
            if not all((alias, name) in grouped for name in table.primary_key):
                continue
            wanted = {column.name for column in scope.columns if column.table == alias and table.column(column.name)}
            for name in sorted(wanted - {column for owner, column in grouped if owner == alias}):
                group.append("expressions", exp.column(name, table=alias, quoted=True))
    return copy


def inline_database(query: exp.Query, catalog: Catalog, database: Database) -> str:
    """Postgres text of ``query`` reading ``database`` instead of the server's own tables."""
    copy = with_grouped_dependents(query, catalog)
    contents = {(rows.schema, rows.table): rows for rows in database.tables}
    expressions: dict[str, str] = {}
    for node in list(base_tables(copy)):
        table = catalog.find(node.name, node.db or None)
        if table is None:
            continue
        name = f"{PREFIX}{table.schema}_{table.name}" if table.schema else f"{PREFIX}{table.name}"
        if name not in expressions:
            expressions[name] = _rows_as_query(table, contents.get((table.schema, table.name)))
        alias = node.args.get("alias") or exp.TableAlias(this=exp.to_identifier(node.name, quoted=True))
        node.replace(
            exp.Table(
                this=exp.to_identifier(name, quoted=True),
                alias=alias,
                **{key: value for key, value in node.args.items() if key in ("joins", "laterals", "pivots", "sample")},
            )
        )
    text = copy.sql(dialect="postgres")
    if not expressions:
        return text
    prefix = ", ".join(f'"{name}" AS ({body})' for name, body in expressions.items())
    for opening in ("WITH RECURSIVE ", "WITH "):
        if text.startswith(opening):
            return f"{opening}{prefix}, {text.removeprefix(opening)}"
    return f"WITH {prefix} {text}"


def _rows_as_query(table: Table, contents: TableRows | None) -> str:
    """One SELECT that returns the generated rows of ``table`` with its full column list and exact types."""
    typed_nulls = [f"CAST(NULL AS {column.type})" for column in table.columns]
    names = [exp.to_identifier(column.name, quoted=True).sql(dialect="postgres") for column in table.columns]
    empty = "SELECT " + ", ".join(f"{null} AS {name}" for null, name in zip(typed_nulls, names, strict=True))
    if contents is None or not contents.rows:
        return f"{empty} WHERE FALSE"
    position = {name: index for index, name in enumerate(contents.columns)}
    branches = []
    for row in contents.rows:
        values = [
            f"CAST({literal(row[position[column.name]], 'postgres')} AS {column.type})"
            if column.name in position
            else null
            for column, null in zip(table.columns, typed_nulls, strict=True)
        ]
        branches.append("(" + ", ".join(values) + ")")
    return f"SELECT * FROM (VALUES {', '.join(branches)}) AS v({', '.join(names)})"


def literal(value: Value, dialect: str) -> str:
    """SQL text of one value."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (int, Decimal)):
        return str(value)
    if isinstance(value, float):
        return f"'{value!r}'::float8" if math.isfinite(value) else f"'{_float_word(value)}'::float8"
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'::bytea" if dialect == "postgres" else f"from_hex('{value.hex()}')"
    text = value.isoformat(sep=" ") if isinstance(value, datetime.datetime) else str(value)
    quoted = text.replace("'", "''")
    return f"'{quoted}'"


def _float_word(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
