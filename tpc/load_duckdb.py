"""Loading a suite into a DuckDB file of its own, put in place when it is complete."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb

from rewriter.errors import TargetError, UsageError
from tpc.data import data_file, quoted
from tpc.source import Source, Tell, first_line, opened
from tpc.suites import ForeignKey, Suite


def load_duckdb(suite: Suite, scale: float, path: Path, tell: Tell) -> list[str]:
    """Write ``path`` unless it holds the suite at ``scale`` already. Raises UsageError, TargetError."""
    label = suite.label(scale)
    if path.exists():
        if _mark(path, suite) != label:
            raise UsageError(f"{path} exists and no load of {label} made it", hint="name a file that does not exist")
        return [f"{path} holds {label} already"]
    tell("generating", 0, 0)
    data = data_file(suite, scale)
    partial = path.with_name(f"{path.name}.partial")
    for stale in (partial, partial.with_name(f"{partial.name}.wal")):
        stale.unlink(missing_ok=True)
    with opened(suite, data) as source:
        tables = list(_in_order(source))
    try:
        with duckdb.connect(str(partial)) as target:
            target.execute(f"ATTACH {quoted(data)} AS source (READ_ONLY)")
            for number, (table, definition) in enumerate(tables, start=1):
                tell(table, number, len(tables))
                target.execute(f"CREATE TABLE {table} ({definition})")
                target.execute(f"INSERT INTO {table} SELECT * FROM source.{table}")
                target.execute(f"COMMENT ON TABLE {table} IS {quoted(label)}")
    except duckdb.Error as error:
        raise TargetError(f"writing {path} failed: {first_line(error)}", hint="is there enough disk?") from None
    partial.rename(path)
    return [f"{path}: {label} written"]


def _mark(path: Path, suite: Suite) -> str | None:
    """The label that a load left in the file, if any did."""
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            found = connection.execute(
                "SELECT table_name, comment FROM duckdb_tables() WHERE table_name IN (SELECT unnest(?))",
                [list(suite.primary_keys)],
            ).fetchall()
    except duckdb.Error:
        return None
    marks = {mark for _, mark in found}
    return str(marks.pop()) if len(found) == len(suite.primary_keys) and len(marks) == 1 else None


def _in_order(source: Source) -> Iterator[tuple[str, str]]:
    """(table, its columns and keys), parents first, as DuckDB declares foreign keys with the table only."""
    suite = source.suite
    keys = {
        table: [key for key in suite.foreign_keys.get(table, []) if source.holds(table, key)]
        for table in suite.primary_keys
    }
    waiting = list(suite.primary_keys)
    while waiting:
        ready = [table for table in waiting if not any(parent in waiting for _, parent, _ in keys[table])]
        if not ready:
            raise TargetError(f"the foreign keys of {', '.join(waiting)} run in a circle")
        for table in ready:
            waiting.remove(table)
            yield table, _definition(source, table, keys[table])


def _definition(source: Source, table: str, keys: list[ForeignKey]) -> str:
    parts = [f"{column.name} {column.type}{'' if column.nullable else ' NOT NULL'}" for column in source.columns(table)]
    parts.append(f"PRIMARY KEY ({source.suite.primary_keys[table]})")
    parts += [f"FOREIGN KEY ({own}) REFERENCES {parent} ({referenced})" for own, parent, referenced in keys]
    return ", ".join(parts)
