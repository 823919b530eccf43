"""Counterexamples as SQL scripts: create and fill the tables in an empty database, then run both queries."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal

from sqlglot import exp

from rewriter.records import Database, Row, Value
from rewriter.verify.generate.relations import Reference, Relation

DIALECTS = ("duckdb", "postgres")
_DEFAULT_SCHEMAS = (None, "main", "public")


def scripts(
    dialect: str, relations: Sequence[Relation], database: Database, original: exp.Query, candidate: exp.Query
) -> dict[str, str]:
    """The counterexample for each of DIALECTS. ``dialect`` is that of the queries and of the column types."""
    return {target: script(target, dialect, relations, database, original, candidate) for target in DIALECTS}


def script(
    target: str,
    dialect: str,
    relations: Sequence[Relation],
    database: Database,
    original: exp.Query,
    candidate: exp.Query,
) -> str:
    """One script in dialect ``target``: tables with their constraints, rows, and the two queries as its last two
    statements. Columns that neither query reads are left out, and constraints on them."""
    by_key = {relation.key: relation for relation in relations}
    schemas = dict.fromkeys(relation.table.schema for relation in relations)
    statements = [
        f"CREATE SCHEMA IF NOT EXISTS {_quoted(s, target)}" for s in schemas if s and s not in _DEFAULT_SCHEMAS
    ]
    # A foreign key of a cycle cannot be declared before its table exists.
    created = dict.fromkeys(relation.key for relation in relations)
    for relation in relations:
        del created[relation.key]
        statements.append(_create(relation, by_key, target, dialect, pending=set(created)))
    for table in database.tables:
        relation = by_key[table.schema, table.table]
        if not table.rows:
            continue
        rows = _parents_first(relation, table.columns, table.rows)
        values = ",\n  ".join("(" + ", ".join(literal(value) for value in row) + ")" for row in rows)
        columns = ", ".join(_quoted(name, target) for name in table.columns)
        statements.append(f"INSERT INTO {_name(relation, target)} ({columns}) VALUES\n  {values}")
    queries = [_query(tree, target) for tree in (original, candidate)]
    return (
        "-- Run in an empty database. The last two statements should return the same and do not.\n"
        + "".join(f"{statement};\n" for statement in statements)
        + f"-- original\n{queries[0]};\n-- candidate\n{queries[1]};\n"
    )


def literal(value: Value) -> str:
    """One value as a SQL literal that both dialects read alike."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "TRUE" if value else "FALSE"
        case int():
            return str(value)
        case Decimal():
            return format(value, "f")
        case float():
            return f"CAST('{value!r}' AS DOUBLE PRECISION)"
        case datetime():
            return f"'{value.isoformat(sep=' ')}'"
        case date() | time():
            return f"'{value.isoformat()}'"
        case uuid.UUID():
            return f"'{value}'"
    text = str(value).replace("'", "''")
    return f"'{text}'"


def _create(
    relation: Relation,
    by_key: Mapping[tuple[str | None, str], Relation],
    target: str,
    dialect: str,
    pending: set[tuple[str | None, str]],
) -> str:
    parts = []
    for column in relation.columns:
        kind = exp.DataType.build(column.type, dialect=dialect).sql(dialect=target)
        required = " NOT NULL" if column.name in relation.not_null else ""
        parts.append(f"{_quoted(column.name, target)} {kind}{required}")

    def listed(columns: Sequence[str]) -> str:
        return "(" + ", ".join(_quoted(name, target) for name in columns) + ")"

    if relation.primary_key:
        parts.append(f"PRIMARY KEY {listed(relation.primary_key)}")
    parts += [f"UNIQUE {listed(key)}" for key in relation.unique]
    for reference in relation.references:
        parent = by_key[reference.parent]
        if reference.parent not in pending and _declarable(relation, parent, reference, target):
            parts.append(
                f"FOREIGN KEY {listed(reference.columns)} "
                f"REFERENCES {_name(parent, target)} {listed(reference.referenced)}"
            )
    parts += [f"CHECK ({check.sql(dialect=target)})" for check in relation.checks]
    return f"CREATE TABLE {_name(relation, target)} (\n  " + ",\n  ".join(parts) + "\n)"


def _declarable(relation: Relation, parent: Relation, reference: Reference, target: str) -> bool:
    """Whether the engine takes this foreign key in CREATE TABLE; the rows keep it all the same. DuckDB wants identical
    types and cannot insert a row that refers to its own table's new rows."""
    if tuple(reference.referenced) not in parent.keys:
        return False
    if target != "duckdb":
        return True
    pairs = zip(reference.columns, reference.referenced, strict=True)
    return parent is not relation and all(relation.domains[c] == parent.domains[r] for c, r in pairs)


def _parents_first(relation: Relation, columns: Sequence[str], rows: Sequence[Row]) -> list[Row]:
    """Rows of a table that refers to itself, ordered so that each finds its parent; others as they are."""
    own = [reference for reference in relation.references if reference.parent == relation.key]
    if not own:
        return list(rows)
    ordered: list[Row] = []
    waiting = list(rows)
    while waiting:
        ready = [row for row in waiting if all(_found(reference, columns, row, [*ordered, row]) for reference in own)]
        ordered += ready or waiting
        waiting = [row for row in waiting if row not in ready] if ready else []
    return ordered


def _found(reference: Reference, columns: Sequence[str], row: Row, among: Sequence[Row]) -> bool:
    wanted = tuple(row[columns.index(name)] for name in reference.columns)
    positions = [columns.index(name) for name in reference.referenced]
    return None in wanted or any(tuple(other[p] for p in positions) == wanted for other in among)


def _name(relation: Relation, target: str) -> str:
    name = _quoted(relation.table.name, target)
    schema = relation.table.schema
    return name if schema is None or schema in _DEFAULT_SCHEMAS else f"{_quoted(schema, target)}.{name}"


def _quoted(name: str, target: str) -> str:
    return exp.to_identifier(name, quoted=True).sql(dialect=target)


def _query(tree: exp.Query, target: str) -> str:
    """The query as text; the default schema's name is dropped, because it differs between engines."""
    copy = tree.copy()
    for table in copy.find_all(exp.Table):
        if table.db and table.db in _DEFAULT_SCHEMAS:
            table.set("db", None)
            table.set("catalog", None)
    return copy.sql(dialect=target, pretty=True)
