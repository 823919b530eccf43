"""Queries and schemas in DuckDB's words, for running generated databases of another dialect's catalog."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.schema import MappingSchema

from rewriter.catalog import Catalog, Table
from rewriter.engines.inline import base_tables, literal, with_grouped_dependents
from rewriter.records import TableRows

# Postgres types that DuckDB does not know, by what holds their values.
_TYPES = {
    "bpchar": "VARCHAR",
    "name": "VARCHAR",
    "citext": "VARCHAR",
    "jsonb": "VARCHAR",
    "json": "VARCHAR",
    "money": "DECIMAL(19,2)",
    "bytea": "BLOB",
    "inet": "VARCHAR",
    "cidr": "VARCHAR",
    "tsvector": "VARCHAR",
    "numeric": "DECIMAL(38,10)",
    "oid": "BIGINT",
    "timestamp with time zone": "TIMESTAMPTZ",
    "timestamp without time zone": "TIMESTAMP",
    "time without time zone": "TIME",
    "time with time zone": "TIMETZ",
    "double precision": "DOUBLE",
    "real": "FLOAT",
    "bit varying": "VARCHAR",
    '"char"': "VARCHAR",
}


def duckdb_type(type_: str) -> str:
    """The DuckDB type that holds the values of ``type_`` (a Postgres or DuckDB type text)."""
    text = type_.strip().lower()
    bare = re.sub(r"\s*\(.*?\)", "", text)
    if bare.endswith("[]"):
        return duckdb_type(bare[:-2]) + "[]"
    if bare in ("character", "character varying", "char", "varchar"):
        return "VARCHAR"
    if text in _TYPES:
        return _TYPES[text]
    if bare in _TYPES and bare != "numeric":
        return _TYPES[bare]
    if bare in ("numeric", "decimal"):
        return text.upper().replace("NUMERIC", "DECIMAL")
    if bare.startswith("timestamp"):
        return "TIMESTAMPTZ" if "with time zone" in bare else "TIMESTAMP"
    return type_


def table_name(table: Table) -> str:
    """The name under which a generated table stands in DuckDB, quoted: the schema is part of the one name."""
    name = f"{table.schema}.{table.name}" if table.schema else table.name
    return exp.to_identifier(name, quoted=True).sql(dialect="duckdb")


def create_table(table: Table) -> str:
    columns = ", ".join(
        f"{exp.to_identifier(column.name, quoted=True).sql(dialect='duckdb')} {duckdb_type(column.type)}"
        for column in table.columns
    )
    return f"CREATE TABLE {table_name(table)} ({columns})"


def insert_rows(table: Table, contents: TableRows) -> str | None:
    if not contents.rows:
        return None
    columns = ", ".join(exp.to_identifier(name, quoted=True).sql(dialect="duckdb") for name in contents.columns)
    rows = ", ".join("(" + ", ".join(literal(value, "duckdb") for value in row) + ")" for row in contents.rows)
    return f"INSERT INTO {table_name(table)} ({columns}) VALUES {rows}"


def query_text(query: exp.Query, catalog: Catalog) -> tuple[str, tuple[Table, ...]]:
    """DuckDB text of ``query`` over generated tables, and the tables that it reads."""
    copy = with_grouped_dependents(query, catalog)
    used: dict[str, Table] = {}
    for node in list(base_tables(copy)):
        table = catalog.find(node.name, node.db or None)
        if table is None:
            continue
        used[table_name(table)] = table
        if not node.args.get("alias"):
            node.set("alias", exp.TableAlias(this=exp.to_identifier(node.name, quoted=True)))
        name = f"{table.schema}.{table.name}" if table.schema else table.name
        node.set("this", exp.to_identifier(name, quoted=True))
        node.set("db", None)
        node.set("catalog", None)
    if catalog.dialect != "duckdb" and copy.find(exp.Div) is not None:
        _divide_whole(copy, used)
    return copy.sql(dialect="duckdb"), tuple(used.values())


def _divide_whole(query: exp.Query, used: Mapping[str, Table]) -> None:
    """Postgres divides whole numbers to whole numbers; DuckDB has another operator for that."""
    columns = {
        name: {column.name: duckdb_type(column.type) for column in table.columns} for name, table in used.items()
    }
    schema = MappingSchema(dialect="duckdb", normalize=False)
    for name, types in columns.items():
        table = exp.Table(this=exp.to_identifier(name[1:-1].replace('""', '"'), quoted=True))
        schema.add_table(table, types, normalize=False, match_depth=False)
    with contextlib.suppress(SqlglotError):  # a type that it does not know: then as before
        annotate_types(query, schema=schema, dialect="postgres")
    for node in list(query.find_all(exp.Div)):
        if all(side.is_type(*exp.DataType.INTEGER_TYPES) for side in (node.this, node.expression)):
            # Not by way of doubles, as sqlglot would have it: those do not hold all whole numbers.
            node.replace(exp.IntDiv(this=node.this, expression=node.expression))
