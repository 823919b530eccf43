"""Statements that tell whether a session is one that the rewrites were verified for (Postgres).

A verdict rests on constraints, types and view definitions. ``catalog_probe`` makes one statement that sums them up in a
text: the service records what it returns, an application compares. ``SESSION`` reads what only the session itself can
change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

SETTINGS = ("TimeZone", "DateStyle", "IntervalStyle")

# Constants and settings only, so it cannot fail. A temporary table would hide the one that the rewrite was verified on.
SESSION = """SELECT current_setting('transaction_isolation'), array_to_string(current_schemas(false), ','),
 CASE WHEN pg_my_temp_schema() = 0 THEN false
      ELSE EXISTS (SELECT FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relkind IN ('r', 'p', 'v')) END,
 extract(epoch FROM current_setting('statement_timeout')::interval)::float8"""

_PROBE = """WITH named (name) AS (VALUES {names}),
relation AS (
  SELECT n.name, c.* FROM named n LEFT JOIN pg_class c ON c.oid = to_regclass(n.name)
),
fact (fact) AS (
  SELECT concat_ws(' ', 'relation', r.name, r.relkind, r.relname, row_security_active(r.oid),
                   CASE WHEN row_security_active(r.oid) THEN current_user END,
                   r.relkind <> 'p' AND EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = r.oid),
                   CASE WHEN r.relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid) END)
  FROM relation r
  UNION ALL
  SELECT concat_ws(' ', 'column', r.name, a.attnum, a.attname, a.atttypid::regtype, a.atttypmod, a.attnotnull,
                   a.attcollation)
  FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid WHERE a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT concat_ws(' ', 'constraint', r.name, k.contype, k.convalidated, k.condeferrable, pg_get_constraintdef(k.oid))
  FROM relation r JOIN pg_constraint k ON k.conrelid = r.oid
  UNION ALL
  SELECT concat_ws(' ', 'index', r.name, i.indisvalid, i.indimmediate, pg_get_indexdef(i.indexrelid))
  FROM relation r JOIN pg_index i ON i.indrelid = r.oid WHERE i.indisunique
  UNION ALL
  SELECT concat_ws(' ', 'setting', name, current_setting(name)) FROM (VALUES {settings}) AS s (name)
  UNION ALL
  SELECT concat_ws(' ', 'server', current_setting('server_version_num')::int / 10000)
)
SELECT md5(string_agg(fact, E'\\n' ORDER BY fact COLLATE "C")) FROM fact"""


class Session(NamedTuple):
    """What ``SESSION`` returns. ``statement_timeout`` is in seconds, 0: none."""

    isolation: str
    search_path: str
    has_temporary_tables: bool
    statement_timeout: float


def catalog_probe(relations: Iterable[tuple[str | None, str]], settings: Iterable[str] = SETTINGS) -> str:
    """A SELECT of one text over everything about ``relations`` (schema or None, name) that a verdict may rest on.

    Its value changes when one of them, a column, a type, a constraint, a unique index or a view's definition changes,
    when row-level security applies to the session's role (and then with the role), when a table gets children, with
    the ``settings`` and with the server's major version.
    """
    names = sorted({_name(schema, name) for schema, name in relations})
    return _PROBE.format(
        names=", ".join(f"({_literal(name)})" for name in names) or "(NULL::text)",
        settings=", ".join(f"({_literal(name)})" for name in sorted(set(settings))) or "(NULL)",
    )


def _name(schema: str | None, name: str) -> str:
    quoted = ['"' + part.replace('"', '""') + '"' for part in (schema, name) if part is not None]
    return ".".join(quoted)


def _literal(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
