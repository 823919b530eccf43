"""Loading a suite into Postgres.

Every table carries a comment that says whose it is and how far it got. So a complete load is recognised, a broken one
is done again, and a table of somebody else is never dropped.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from rewriter.errors import UsageError
from tpc.data import data_file
from tpc.source import ColumnLayout, Source, Tell, opened
from tpc.suites import Suite

CHUNK = 1 << 20  # bytes per COPY message
_LOCK = 0x7270635F6C6F6164  # one load at a time in a database; any number that nobody else takes

Connection = psycopg.Connection[Any]


def load_postgres(suite: Suite, scale: float, connection: Connection, tell: Tell) -> list[str]:
    """Load over an autocommit ``connection`` into its current schema. Raises UsageError, psycopg.Error."""
    connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))  # released with the connection
    label = suite.label(scale)
    loading, loaded = f"rewriter: {label}, loading", f"rewriter: {label}, loaded"
    present = _present(suite, connection)
    if set(present) == set(suite.primary_keys) and set(present.values()) == {loaded}:
        return [f"{label} is loaded already"]
    foreign = sorted(table for table, mark in present.items() if mark not in (loading, loaded))
    if foreign:
        raise UsageError(
            f"the target has a table {foreign[0]} that no load of {label} made", hint="use an empty database"
        )
    tell("generating", 0, 0)
    path = data_file(suite, scale)
    with opened(suite, path) as source:
        _create(source, connection, list(present), loading)
        total = _fill(source, path.parent, connection, tell)
        violated = _declare(source, connection, tell)
    tell("statistics", 0, 0)
    tables = sql.SQL(", ").join(sql.Identifier(table) for table in suite.primary_keys)
    connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(tables))
    _mark(suite, connection, loaded)
    notes = [f"{label}: {total:,} rows loaded"]
    if violated:
        notes.append(f"not declared, because the data violates them: {', '.join(violated)}")
    return notes


def _present(suite: Suite, connection: Connection) -> dict[str, str | None]:
    """The suite's tables (and whatever else bears their names) in the current schema, with their comments."""
    rows = connection.execute(
        "SELECT relname, obj_description(oid, 'pg_class') FROM pg_class"
        " WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(%s)",
        (list(suite.primary_keys),),
    ).fetchall()
    return {str(name): mark for name, mark in rows}


def _create(source: Source, connection: Connection, stale: list[str], mark: str) -> None:
    """Make the tables and mark them as ours in one transaction: there is no moment at which whose they are is open."""
    with connection.transaction():
        if stale:
            names = sql.SQL(", ").join(sql.Identifier(table) for table in stale)
            connection.execute(sql.SQL("DROP TABLE {}").format(names))
        for table in source.suite.primary_keys:
            columns = sql.SQL(", ").join(_definition(column) for column in source.columns(table))
            connection.execute(sql.SQL("CREATE TABLE {} ({})").format(sql.Identifier(table), columns))
        _mark(source.suite, connection, mark)


def _definition(column: ColumnLayout) -> sql.Composable:
    type_ = "double precision" if column.type == "DOUBLE" else column.type
    return sql.SQL("{} {}{}").format(
        sql.Identifier(column.name), sql.SQL(type_), sql.SQL("" if column.nullable else " NOT NULL")
    )


def _fill(source: Source, directory: Path, connection: Connection, tell: Tell) -> int:
    """Copy every table, by way of a CSV file next to the data: DuckDB writes one far faster than Python can."""
    counts = {table: source.rows(table) for table in source.suite.primary_keys}
    total, before = sum(counts.values()), 0
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        for table, count in counts.items():
            tell(table, before, total)
            path = Path(scratch) / "rows.csv"
            source.write_csv(table, path)
            size, sent = max(1, path.stat().st_size), 0
            copy_from = sql.SQL(r"COPY {} FROM STDIN (FORMAT csv, NULL '\N')").format(sql.Identifier(table))
            with path.open("rb") as file, connection.cursor().copy(copy_from) as copy:
                while chunk := file.read(CHUNK):
                    copy.write(chunk)
                    sent += len(chunk)
                    tell(table, before + count * sent // size, total)
            before += count
    return total


def _declare(source: Source, connection: Connection, tell: Tell) -> list[str]:
    """Declare the keys; returns the foreign keys that the data violates."""
    suite = source.suite
    connection.execute("SET maintenance_work_mem = '256MB'")
    for number, (table, key) in enumerate(suite.primary_keys.items(), start=1):
        tell("primary keys", number, len(suite.primary_keys))
        connection.execute(f"ALTER TABLE {table} ADD PRIMARY KEY ({key})")
    violated = []
    keys = [(table, foreign) for table, found in suite.foreign_keys.items() for foreign in found]
    for number, (table, foreign) in enumerate(keys, start=1):
        tell("foreign keys", number, len(keys))
        own, parent, referenced = foreign
        if source.holds(table, foreign):
            connection.execute(f"ALTER TABLE {table} ADD FOREIGN KEY ({own}) REFERENCES {parent} ({referenced})")
        else:
            violated.append(f"{table} ({own})")
    return violated


def _mark(suite: Suite, connection: Connection, mark: str) -> None:
    with connection.transaction():
        for table in suite.primary_keys:
            statement = sql.SQL("COMMENT ON TABLE {} IS {}")
            connection.execute(statement.format(sql.Identifier(table), sql.Literal(mark)))
