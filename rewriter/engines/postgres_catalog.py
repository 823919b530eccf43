"""Reads the catalog of a Postgres server. All statements are constants; nothing of the user's enters them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import psycopg

from rewriter.catalog import Catalog, Column, ColumnStatistics, ForeignKey, Table

_HIDDEN = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'"

# Ordinary and partitioned tables, foreign tables, materialized views, views; partitions stay hidden.
_RELATIONS = f"""
SELECT c.oid, n.nspname, c.relname, c.relkind, c.reltuples,
       CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END,
       c.relkind <> 'p' AND EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f', 'm', 'v') AND NOT c.relispartition AND {_HIDDEN}
  AND has_schema_privilege(n.oid, 'USAGE')
ORDER BY n.nspname, c.relname
"""

_COLUMNS = f"""
SELECT a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod),
       a.attnotnull OR (t.typtype = 'd' AND t.typnotnull), s.null_frac, s.n_distinct
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
                    AND NOT s.inherited
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'f', 'm', 'v') AND {_HIDDEN}
ORDER BY a.attrelid, a.attnum
"""

# A deferrable key may be violated inside a transaction; a constraint that is not validated may not hold for old rows.
_CONSTRAINTS = f"""
SELECT k.conrelid, k.contype,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u(num, pos)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY u.pos),
       fn.nspname, f.relname,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u(num, pos)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num ORDER BY u.pos),
       pg_get_expr(k.conbin, k.conrelid)
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class f ON f.oid = k.confrelid LEFT JOIN pg_namespace fn ON fn.oid = f.relnamespace
WHERE k.contype IN ('p', 'u', 'f', 'c') AND k.convalidated AND NOT k.condeferrable AND {_HIDDEN}
ORDER BY k.conrelid, k.conname
"""

# Unique indexes that are no constraint bind just as well, unless partial, on expressions or being built.
_UNIQUE_INDEXES = f"""
SELECT i.indrelid,
       ARRAY(SELECT a.attname::text FROM unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS u(num, pos)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.num ORDER BY u.pos)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.indisunique AND NOT i.indisprimary AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
  AND i.indexprs IS NULL AND {_HIDDEN}
ORDER BY i.indexrelid
"""

# Only the server's own: what users define cannot be run on generated data, and an immutable one would run inside
# EXPLAIN.
_FUNCTIONS = """
SELECT proname, max(CASE provolatile WHEN 'v' THEN 3 WHEN 's' THEN 2 ELSE 1 END)
FROM pg_proc WHERE prokind <> 'p' AND pronamespace = 'pg_catalog'::regnamespace GROUP BY proname
"""

# One text that changes when anything changes that a verdict may rest on. A dropped and recreated object gets a new text
# (its oid), which errs on the safe side. Row counts and statistics are left out.
VERSION_QUERY = f"""
SELECT md5(concat_ws(';',
  (SELECT string_agg(concat_ws(',', c.oid, n.nspname, c.relname, c.relkind, c.relrowsecurity,
                               CASE WHEN c.relkind = 'v' THEN md5(pg_get_viewdef(c.oid)) END), ';' ORDER BY c.oid)
   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'f', 'm', 'v') AND {_HIDDEN}),
  (SELECT string_agg(concat_ws(',', a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull,
                               a.attcollation), ';' ORDER BY a.attrelid, a.attnum)
   FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'f', 'm', 'v') AND {_HIDDEN}),
  (SELECT string_agg(concat_ws(',', k.oid, k.contype, k.conrelid, k.confrelid, k.conkey::text, k.confkey::text,
                               k.convalidated, k.condeferrable, md5(k.conbin::text)), ';' ORDER BY k.oid)
   FROM pg_constraint k WHERE k.contype IN ('p', 'u', 'f', 'c')),
  (SELECT string_agg(concat_ws(',', i.indexrelid, i.indrelid, i.indisvalid, i.indkey::text), ';' ORDER BY i.indexrelid)
   FROM pg_index i WHERE i.indisunique),
  (SELECT string_agg(concat_ws(',', i.inhrelid, i.inhparent), ';' ORDER BY i.inhrelid, i.inhparent) FROM pg_inherits i),
  current_schemas(false)::text, current_setting('TimeZone'), current_setting('DateStyle'),
  current_setting('IntervalStyle'), current_setting('server_version_num')))
"""

_VOLATILITY = {1: "immutable", 2: "stable", 3: "volatile"}


def read_catalog(cursor: psycopg.Cursor[Any], version: int) -> Catalog:
    """The catalog as the connected role sees it."""

    def rows(statement: str) -> list[tuple[Any, ...]]:
        return cursor.execute(statement, prepare=True).fetchall()

    columns: dict[int, list[Column]] = defaultdict(list)
    relations = rows(_RELATIONS)
    counts = {oid: None if tuples < 0 else int(tuples) for oid, _, _, _, tuples, _, _ in relations}
    for oid, name, type_, not_null, nulls, distinct in rows(_COLUMNS):
        statistics = None
        if nulls is not None or distinct is not None:
            statistics = ColumnStatistics(nulls, _distinct(distinct, counts.get(oid)))
        columns[oid].append(Column(name, type_, not not_null, statistics))

    primary: dict[int, tuple[str, ...]] = {}
    unique: dict[int, list[tuple[str, ...]]] = defaultdict(list)
    foreign: dict[int, list[ForeignKey]] = defaultdict(list)
    checks: dict[int, list[str]] = defaultdict(list)
    for oid, kind, names, schema, table, referenced, expression in rows(_CONSTRAINTS):
        if kind == "p":
            primary[oid] = tuple(names)
        elif kind == "f":
            foreign[oid].append(ForeignKey(tuple(names), table, tuple(referenced), schema))
        elif kind == "c":
            checks[oid].append(expression)
    for oid, names in rows(_UNIQUE_INDEXES):
        if tuple(names) not in unique[oid]:
            unique[oid].append(tuple(names))

    for oid, *_, inherited in relations:
        if inherited:
            # The rows of children show up in the parent, and its keys do not hold over them (documentation, INHERITS).
            primary.pop(oid, None)
            unique.pop(oid, None)
            foreign.pop(oid, None)
    tables = tuple(
        Table(
            name=name,
            columns=tuple(columns[oid]),
            schema=schema,
            primary_key=primary.get(oid, ()),
            unique=tuple(unique[oid]),
            foreign_keys=tuple(foreign[oid]),
            checks=tuple(checks[oid]),
            rows=counts[oid],
            definition=definition.strip().rstrip(";") if definition else None,
        )
        for oid, schema, name, _, _, definition, _ in relations
    )
    (path,) = rows("SELECT current_schemas(false)")[0]
    settings = rows(
        "SELECT name, setting FROM pg_settings WHERE name IN ('TimeZone', 'DateStyle', 'IntervalStyle', 'lc_messages') "
        "UNION ALL SELECT 'collation', datcollate FROM pg_database WHERE datname = current_database()"
    )
    functions = {name: _VOLATILITY[level] for name, level in rows(_FUNCTIONS)}
    return Catalog(
        dialect="postgres",
        tables=tables,
        search_path=tuple(str(schema) for schema in path),
        engine_version=f"{version // 10000}.{version % 10000}",
        functions=functions,
        settings=dict(settings),
    )


def _distinct(n_distinct: float | None, rows: int | None) -> float | None:
    """pg_stats gives a count, or minus a share of the rows (documentation of the view pg_stats)."""
    if n_distinct is None or n_distinct >= 0:
        return n_distinct or None
    return -n_distinct * rows if rows is not None else None
