"""Loading a suite into a target, with primary and foreign keys declared.

A finished load leaves a comment on one of its tables, by which the next call recognises it; a broken one is redone.
Foreign keys that the generated data does not satisfy are not declared, and are named.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import duckdb
import psycopg
from psycopg import sql

from rewriter.engines import embedded
from rewriter.errors import TargetError, TargetUnreachable, UsageError
from tpc.data import data_file
from tpc.suites import Suite

Tell = Callable[[str, int, int], None]  # (what, rows done, rows in all)
CHUNK = 20_000  # rows per COPY write


def target_for(suite: Suite, scale: float, url: str) -> str:
    """The URL to connect to for a suite at a scale.

    The embedded server holds each suite and scale in a database of its own; any other URL is used as it is.
    """
    if url.startswith("embedded:") and "?dbname=" not in url:
        return f"{url}?dbname={suite.label(scale)}"
    return url


def load(suite: Suite, scale: float, url: str, tell: Tell) -> list[str]:
    """Load the suite at ``scale`` into ``url`` unless it is there; returns sentences about what was done.

    Raises UsageError, TargetUnreachable, TargetError.
    """
    tell("generating", 0, 0)
    source = data_file(suite, scale)
    if url.startswith("duckdb://"):
        return _load_duckdb(suite, source, Path(url.removeprefix("duckdb://")), tell)
    if url.startswith("embedded:"):
        directory, _, database = url.removeprefix("embedded:").partition("?dbname=")
        server = embedded.start(Path(directory) if directory else None)
        uri = _own_database(server, database or suite.label(scale))
    elif url.startswith(("postgresql://", "postgres://")):
        uri = url
    else:
        raise UsageError("data is loaded into postgresql://, embedded: or duckdb:/// targets")
    try:
        with psycopg.connect(uri, autocommit=True, connect_timeout=10) as connection:
            return _load_postgres(suite, scale, source, connection, tell)
    except psycopg.OperationalError as error:
        raise TargetUnreachable(f"loading failed: {str(error).strip().splitlines()[-1][:160]}") from None
    except psycopg.Error as error:
        raise TargetError(f"loading failed: {str(error).strip().splitlines()[0][:160]}") from None


def _own_database(server: str, database: str) -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone()
        if known is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    return urlunsplit(urlsplit(server)._replace(path=f"/{database}"))


def _columns(source: duckdb.DuckDBPyConnection, table: str) -> list[tuple[str, str, bool]]:
    rows = source.execute(
        "SELECT column_name, data_type, is_nullable FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index",
        [table],
    ).fetchall()
    return [(str(name), str(type_), bool(nullable)) for name, type_, nullable in rows]


def _load_postgres(
    suite: Suite, scale: float, source: Path, connection: psycopg.Connection[Any], tell: Tell
) -> list[str]:
    mark = f"rewriter {suite.label(scale)} loaded"
    witness = next(iter(suite.primary_keys))
    state = connection.execute(
        "SELECT obj_description(to_regclass(%s), 'pg_class'), to_regclass(%s) IS NOT NULL", (witness, witness)
    ).fetchone()
    if state is not None and state[0] == mark:
        return [f"{suite.label(scale)} is loaded already"]
    if state is not None and state[1] and state[0] != "rewriter loading":
        raise UsageError(f"the target already has a table {witness} that is not ours", hint="use an empty database")
    with duckdb.connect(str(source), read_only=True) as data:
        total = 0
        for table in suite.primary_keys:
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(sql.Identifier(table)))
            definitions = [
                sql.SQL("{} {}{}").format(
                    sql.Identifier(name),
                    sql.SQL(type_.replace("DOUBLE", "double precision")),
                    sql.SQL("" if nullable else " NOT NULL"),
                )
                for name, type_, nullable in _columns(data, table)
            ]
            statement = sql.SQL("CREATE TABLE {} ({})")
            connection.execute(statement.format(sql.Identifier(table), sql.SQL(", ").join(definitions)))
            if table == witness:
                connection.execute(sql.SQL("COMMENT ON TABLE {} IS 'rewriter loading'").format(sql.Identifier(table)))
            total += int((data.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,))[0])
        done = 0
        for table in suite.primary_keys:
            done = _copy(data, connection, table, done, total, tell)
        tell("primary keys", total, total)
        for table, key in suite.primary_keys.items():
            connection.execute(f"ALTER TABLE {table} ADD PRIMARY KEY ({key})")
        violated = _foreign_keys(suite, data, connection, tell)
    tell("statistics", total, total)
    connection.execute("VACUUM ANALYZE")
    connection.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(sql.Identifier(witness), sql.Literal(mark)))
    notes = [f"{suite.label(scale)}: {total:,} rows loaded"]
    if violated:
        notes.append(f"not declared, because the data violates them: {', '.join(violated)}")
    return notes


def _copy(
    data: duckdb.DuckDBPyConnection, connection: psycopg.Connection[Any], table: str, done: int, total: int, tell: Tell
) -> int:
    cursor = data.cursor()
    cursor.execute(f"SELECT * FROM {table}")
    with connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT csv, NULL '\\N')") as copy:
        while rows := cursor.fetchmany(CHUNK):
            text = io.StringIO()
            csv.writer(text).writerows([["\\N" if value is None else value for value in row] for row in rows])
            copy.write(text.getvalue())
            done += len(rows)
            tell(table, done, total)
    cursor.close()
    return done


def _holds(data: duckdb.DuckDBPyConnection, child: str, columns: str, parent: str, referenced: str) -> bool:
    pairs = list(zip(columns.split(", "), referenced.split(", "), strict=True))
    match = " AND ".join(f"p.{there} = c.{here}" for here, there in pairs)
    present = " AND ".join(f"c.{here} IS NOT NULL" for here, _ in pairs)
    row = data.execute(
        f"SELECT count(*) FROM {child} c WHERE {present} AND NOT EXISTS (SELECT 1 FROM {parent} p WHERE {match})"
    ).fetchone()
    return row is not None and row[0] == 0


def _foreign_keys(
    suite: Suite, data: duckdb.DuckDBPyConnection, connection: psycopg.Connection[Any], tell: Tell
) -> list[str]:
    violated = []
    keys = [(table, *key) for table, found in suite.foreign_keys.items() for key in found]
    for number, (table, columns, parent, referenced) in enumerate(keys, start=1):
        tell("foreign keys", number, len(keys))
        if _holds(data, table, columns, parent, referenced):
            connection.execute(f"ALTER TABLE {table} ADD FOREIGN KEY ({columns}) REFERENCES {parent} ({referenced})")
        else:
            violated.append(f"{table} ({columns})")
    return violated


def _load_duckdb(suite: Suite, source: Path, path: Path, tell: Tell) -> list[str]:
    """A file of its own with the same tables and their keys, parents first, as DuckDB's foreign keys want it."""
    if path.is_file():
        return [f"{path} is there already"]
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(source), read_only=True) as data:
        checked = {
            table: [key for key in keys if _holds(data, table, *key)] for table, keys in suite.foreign_keys.items()
        }
        layout = {table: _columns(data, table) for table in suite.primary_keys}
    with duckdb.connect(str(partial)) as target:
        target.execute(f"ATTACH '{source}' AS source (READ_ONLY)")
        waiting = dict(suite.primary_keys)
        number = 0
        while waiting:
            for table, key in list(waiting.items()):
                if any(parent in waiting and parent != table for _, parent, _ in checked.get(table, [])):
                    continue
                del waiting[table]
                number += 1
                tell(table, number, len(suite.primary_keys))
                parts = [f"{name} {type_}{'' if nullable else ' NOT NULL'}" for name, type_, nullable in layout[table]]
                parts.append(f"PRIMARY KEY ({key})")
                parts += [f"FOREIGN KEY ({own}) REFERENCES {up} ({there})" for own, up, there in checked.get(table, [])]
                target.execute(f"CREATE TABLE {table} ({', '.join(parts)})")
                target.execute(f"INSERT INTO {table} SELECT * FROM source.{table}")
    partial.rename(path)
    return [f"{path} written"]
