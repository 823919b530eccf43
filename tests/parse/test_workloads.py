"""The benchmarks' own texts: all are read in both dialects, and qualification leaves their answers alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rewriter.catalog import Catalog, Column, Table
from rewriter.parse import parse, read_schema

SUITES = {"tpch": ("dbgen", 22), "tpcds": ("dsdgen", 99)}


@pytest.fixture(scope="module", params=sorted(SUITES))
def suite(request) -> Iterator[tuple[duckdb.DuckDBPyConnection, list[str]]]:
    name = request.param
    extension = pytest.importorskip(f"duckdb_extension_{name}")
    with duckdb.connect() as connection:
        (library,) = Path(extension.__file__).parent.rglob("*.duckdb_extension")
        connection.execute(f"LOAD '{library}'")
        connection.execute(f"CALL {SUITES[name][0]}(sf = 0.01)")
        texts = [text for (text,) in connection.execute(f"SELECT query FROM {name}_queries()").fetchall()]
        assert len(texts) == SUITES[name][1]
        yield connection, texts


def catalog(connection: duckdb.DuckDBPyConnection, dialect: str) -> Catalog:
    columns: dict[str, list[Column]] = defaultdict(list)
    for table, name, type_ in connection.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal ORDER BY column_index"
    ).fetchall():
        columns[table].append(Column(name, type_))
    return Catalog(dialect, tuple(Table(name, tuple(entries)) for name, entries in columns.items()))


def bag(rows: list[tuple[Any, ...]]) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(round(v, 6) if isinstance(v, float) else v for v in row) for row in rows)


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
def test_every_text_is_read_and_answers_the_same_when_qualified(suite, dialect):
    connection, texts = suite
    known = catalog(connection, dialect)
    rows = 0
    for text in texts:
        query = parse(text, known)
        assert query.nondeterminism == ()
        expected = connection.execute(text).fetchall()
        qualified = query.tree.sql(dialect="duckdb")
        assert bag(connection.execute(qualified).fetchall()) == bag(expected), text
        rows += len(expected)
    assert rows > 100


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
def test_the_join_order_benchmark_is_read(shared, dialect):
    folder = shared / "workloads" / "job"
    ddl = (folder / "schema.sql").read_text()
    known = read_schema(ddl, dialect)
    files = sorted((folder / "queries").glob("*.sql"))
    assert len(files) == 113
    with duckdb.connect() as connection:
        connection.execute(ddl)
        for file in files[::3]:
            query = parse(file.read_text(), known)
            connection.execute(query.tree.sql(dialect="duckdb"))
