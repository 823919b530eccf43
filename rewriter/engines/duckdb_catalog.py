"""Reads the catalog of a DuckDB database through its ``duckdb_*()`` table functions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from rewriter.catalog import Catalog, Column, ForeignKey, Table
from rewriter.records import Row

Reader = Callable[[str], tuple[Row, ...]]

_MAIN = "NOT internal AND database_name = current_database()"
# One text that changes when anything changes that a verdict may rest on; see the query for Postgres.
VERSION_QUERY = f"""
SELECT md5(concat_ws(';',
  (SELECT string_agg(concat_ws(',', schema_name, table_name, column_name, data_type, is_nullable), ';'
                     ORDER BY schema_name, table_name, column_index) FROM duckdb_columns() WHERE {_MAIN}),
  (SELECT string_agg(concat_ws(',', schema_name, table_name, constraint_text), ';'
                     ORDER BY schema_name, table_name, constraint_index)
   FROM duckdb_constraints() WHERE database_name = current_database()),
  (SELECT string_agg(concat_ws(',', schema_name, view_name, sql), ';' ORDER BY schema_name, view_name)
   FROM duckdb_views() WHERE {_MAIN}),
  (SELECT string_agg(concat_ws(',', schema_name, index_name, sql), ';' ORDER BY schema_name, index_name)
   FROM duckdb_indexes() WHERE database_name = current_database() AND is_unique),
  version()))
"""

_VOLATILITY = {"CONSISTENT": "immutable", "CONSISTENT_WITHIN_QUERY": "stable", "VOLATILE": "volatile"}


def read_catalog(rows: Reader, version: str) -> Catalog:
    """The catalog of the open database. Names are lower case, because DuckDB compares without case."""
    columns: dict[tuple[str, str], list[Column]] = defaultdict(list)
    for schema, table, name, type_, nullable in rows(
        f"SELECT schema_name, table_name, column_name, data_type, is_nullable FROM duckdb_columns() WHERE {_MAIN} "
        "ORDER BY schema_name, table_name, column_index"
    ):
        columns[schema, table].append(Column(name.lower(), type_, bool(nullable)))

    primary: dict[tuple[str, str], tuple[str, ...]] = {}
    unique: dict[tuple[str, str], list[tuple[str, ...]]] = defaultdict(list)
    foreign: dict[tuple[str, str], list[ForeignKey]] = defaultdict(list)
    checks: dict[tuple[str, str], list[str]] = defaultdict(list)
    for schema, table, kind, names, parent, referenced, expression in rows(
        "SELECT schema_name, table_name, constraint_type, constraint_column_names, referenced_table, "
        "referenced_column_names, expression FROM duckdb_constraints() WHERE database_name = current_database()"
    ):
        key = (schema, table)
        lowered = tuple(name.lower() for name in names)
        if kind == "PRIMARY KEY":
            primary[key] = lowered
        elif kind == "UNIQUE":
            unique[key].append(lowered)
        elif kind == "FOREIGN KEY" and parent:
            foreign[key].append(ForeignKey(lowered, parent.lower(), tuple(name.lower() for name in referenced), schema))
        elif kind == "CHECK" and expression:
            checks[key].append(expression)

    tables = [
        Table(
            name=name.lower(),
            columns=tuple(columns[schema, name]),
            schema=schema.lower(),
            primary_key=primary.get((schema, name), ()),
            unique=tuple(unique[schema, name]),
            foreign_keys=tuple(foreign[schema, name]),
            checks=tuple(checks[schema, name]),
            rows=size,
        )
        for schema, name, size in rows(
            f"SELECT schema_name, table_name, estimated_size FROM duckdb_tables() WHERE {_MAIN} ORDER BY 1, 2"
        )
    ]
    tables.extend(
        Table(
            name=name.lower(),
            columns=tuple(columns[schema, name]),
            schema=schema.lower(),
            definition=_select_of(definition),
        )
        for schema, name, definition in rows(
            f"SELECT schema_name, view_name, sql FROM duckdb_views() WHERE {_MAIN} ORDER BY 1, 2"
        )
    )
    functions = {
        name.lower(): _VOLATILITY.get(worst, "volatile")
        for name, worst in rows(
            # VOLATILE sorts last, so the worst overload of a name wins; macros and table functions tell nothing.
            "SELECT function_name, max(coalesce(stability, 'CONSISTENT')) FROM duckdb_functions() "
            "WHERE internal AND function_type IN ('scalar', 'aggregate', 'macro') GROUP BY 1"
        )
    }
    ((time_zone, order, null_order, collation),) = rows(
        "SELECT current_setting('TimeZone'), current_setting('default_order'), current_setting('default_null_order'), "
        "current_setting('default_collation')"
    )
    return Catalog(
        dialect="duckdb",
        tables=tuple(tables),
        search_path=("main",),
        engine_version=version,
        functions=functions,
        settings={
            "TimeZone": str(time_zone),
            "default_order": str(order),
            "default_null_order": str(null_order),
            "default_collation": str(collation),
        },
    )


def _select_of(create_view: str) -> str:
    """The SELECT of a CREATE VIEW text as DuckDB stores it."""
    head, _, body = create_view.partition(" AS ")
    return (body if head.upper().startswith("CREATE VIEW") else create_view).strip().rstrip(";")
