"""The generated data as loaders read it: layout, keys that hold, rows as CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from rewriter.errors import TargetError
from tpc.data import quoted
from tpc.suites import ForeignKey, Suite

Tell = Callable[[str, int, int], None]  # how far a load got: (what, done, in all); 0 in all: not known


@dataclass(frozen=True)
class ColumnLayout:
    """``type`` is DuckDB's type text."""

    name: str
    type: str
    nullable: bool


class Source:
    """One generated DuckDB file, opened for reading."""

    def __init__(self, suite: Suite, connection: duckdb.DuckDBPyConnection) -> None:
        self.suite = suite
        self._connection = connection

    def columns(self, table: str) -> list[ColumnLayout]:
        rows = self._connection.execute(
            "SELECT column_name, data_type, is_nullable FROM duckdb_columns() WHERE table_name = ?"
            " ORDER BY column_index",
            [table],
        ).fetchall()
        return [ColumnLayout(str(name), str(type_), bool(nullable)) for name, type_, nullable in rows]

    def rows(self, table: str) -> int:
        return self._count(f"SELECT count(*) FROM {table}")

    def holds(self, table: str, key: ForeignKey) -> bool:
        """Whether every row satisfies the foreign key; a NULL in any of its columns does (MATCH SIMPLE)."""
        own, parent, referenced = key
        pairs = list(zip(own.split(", "), referenced.split(", "), strict=True))
        match = " AND ".join(f"p.{there} = c.{here}" for here, there in pairs)
        present = " AND ".join(f"c.{here} IS NOT NULL" for here, _ in pairs)
        orphans = f"{present} AND NOT EXISTS (SELECT 1 FROM {parent} p WHERE {match})"
        return self._count(f"SELECT count(*) FROM {table} c WHERE {orphans}") == 0

    def write_csv(self, table: str, path: Path) -> None:
        r"""All rows as CSV without a header; an unquoted ``\N`` is NULL."""
        options = r"FORMAT csv, HEADER false, NULLSTR '\N'"
        self._connection.execute(f"COPY (SELECT * FROM {table}) TO {quoted(path)} ({options})")

    def _count(self, statement: str) -> int:
        row = self._connection.execute(statement).fetchone()
        return int(row[0]) if row is not None else 0


@contextmanager
def opened(suite: Suite, path: Path) -> Iterator[Source]:
    """The source in ``path``. Raises TargetError when the file cannot be read."""
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            yield Source(suite, connection)
    except duckdb.Error as error:
        raise TargetError(f"the data in {path} cannot be read: {first_line(error)}", hint="delete that file") from None


def first_line(error: Exception) -> str:
    """What a driver says in its first line; the rest repeats statements."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
