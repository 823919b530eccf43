"""Names are bound as the engines bind them: every case returns the same as stated and as qualified."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import psycopg
import pytest
from sqlglot import exp

from rewriter.catalog import Catalog
from rewriter.engines import Postgres
from rewriter.errors import QueryRejected, UnknownName
from rewriter.parse import parse, read_schema
from tests.parse.cases import BOTH, DDL, POSTGRES, ROWS

CAPTURING = "view inside a CTE of its tables' names"
Table = tuple[list[str], list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def on_duckdb() -> Iterator[tuple[duckdb.DuckDBPyConnection, Catalog]]:
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")  # rows come in one order, so ties look alike in both runs
        connection.execute(DDL + ROWS)
        yield connection, read_schema(DDL, "duckdb")


@pytest.fixture(scope="module")
def on_postgres(postgres_url: str) -> Iterator[tuple[psycopg.Connection[Any], Catalog]]:
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS parse_cases WITH (FORCE)")
        server.execute("CREATE DATABASE parse_cases")
    url = postgres_url.replace("/postgres?", "/parse_cases?")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(DDL + ROWS)
        engine = Postgres(url)
        try:
            yield connection, engine.catalog()
        finally:
            engine.close()


def run(connection: Any, sql: str) -> Table:
    cursor = connection.execute(sql)
    rows = cursor.fetchall()
    ordered = "order by" in sql.lower()
    return [column[0] for column in cursor.description], rows if ordered else sorted(rows, key=repr)


@pytest.mark.parametrize("case", sorted(BOTH))
def test_duckdb_reads_the_qualified_tree_as_it_reads_the_statement(on_duckdb, case):
    connection, catalog = on_duckdb
    if case == CAPTURING:
        with pytest.raises(QueryRejected):  # no schema to tell the table from the CTE: refused, not guessed
            parse(BOTH[case], catalog)
        return
    names, rows = run(connection, BOTH[case])
    query = parse(BOTH[case], catalog)
    assert run(connection, query.statement)[1] == rows
    assert run(connection, query.stated.sql(dialect="duckdb"))[1] == rows
    qualified_names, qualified_rows = run(connection, query.sql())
    assert qualified_rows == rows
    assert qualified_names == list(query.columns)
    assert len(qualified_names) == len(names)


@pytest.mark.parametrize("case", sorted(BOTH | POSTGRES))
def test_postgres_reads_the_qualified_tree_as_it_reads_the_statement(on_postgres, case):
    connection, catalog = on_postgres
    sql = (BOTH | POSTGRES)[case]
    expected = run(connection, sql)
    query = parse(sql, catalog)
    assert run(connection, query.statement) == expected
    assert run(connection, query.stated.sql(dialect="postgres"))[1] == expected[1]
    assert run(connection, query.sql()) == expected
    assert list(query.columns) == expected[0]


@pytest.mark.parametrize("case", sorted(set(BOTH) - {CAPTURING}))
def test_every_column_of_a_qualified_tree_names_a_relation_or_an_output(on_duckdb, case):
    _, catalog = on_duckdb
    for column in parse(BOTH[case], catalog).tree.find_all(exp.Column):
        assert column.table or isinstance(column.parent, exp.Ordered)


def test_parsing_a_qualified_tree_again_changes_nothing(on_postgres):
    _, catalog = on_postgres
    for sql in BOTH.values():
        once = parse(sql, catalog).sql()
        assert parse(once, catalog).sql() == once


def test_what_is_given_is_never_changed(on_duckdb):
    _, catalog = on_duckdb
    query = parse("SELECT * FROM v WHERE a > 1", catalog)
    assert query.stated.sql(dialect="duckdb") != query.sql()
    assert query.text == "SELECT * FROM v WHERE a > 1"


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("SELECT 1 FROM tt", "t"),
        ("SELECT aa FROM t", "a"),
        ("SELECT t.zz FROM t", None),
        ("SELECT a FROM t JOIN u ON t.a = u.a", None),
        ("SELECT q.a FROM t", None),
        ("SELECT a FROM nowhere.t", "t"),
        ("SELECT a FROM 'data.csv'", None),
        ('SELECT a FROM "data.csv"', None),
        ("SELECT a FROM pg_catalog.pg_authid", None),
    ],
)
def test_unknown_names_are_told_with_what_is_close(on_duckdb, sql, named):
    _, catalog = on_duckdb
    with pytest.raises((UnknownName, QueryRejected)) as caught:
        parse(sql, catalog)
    assert caught.value.hint
    if named:
        assert named in caught.value.hint


def test_a_word_that_an_engine_reserves_is_quoted():
    catalog = read_schema('CREATE TABLE t (a int, "at" int, "order" int)', "duckdb")
    with duckdb.connect() as connection:
        connection.execute('CREATE TABLE t (a int, "at" int, "order" int)')
        words = [word for (word,) in connection.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()]
        for word in words:
            query = parse(f'SELECT "{word}".a AS "{word}" FROM t AS "{word}"', catalog)
            assert connection.execute(query.sql()).fetchall() == []
