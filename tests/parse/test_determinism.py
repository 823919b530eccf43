from __future__ import annotations

import pytest

from rewriter.parse import parse, read_schema

DDL = "CREATE TABLE t (a int, b int, s text)"

UNDETERMINED = [
    "SELECT a FROM t LIMIT 3",
    "SELECT a FROM t OFFSET 3",
    "SELECT a FROM (SELECT a FROM t LIMIT 3) q ORDER BY a",
    "SELECT random() AS r FROM t",
    "SELECT a FROM t WHERE now() > CAST('2020-01-01' AS timestamp)",
    "SELECT current_date AS d",
    "SELECT DISTINCT ON (a) a, b FROM t",
    "SELECT row_number() OVER () AS n FROM t",
    "SELECT row_number() OVER (PARTITION BY a) AS n FROM t",
    "SELECT string_agg(s, ',') AS all_of_them FROM t",
    "SELECT array_agg(s) AS all_of_them FROM t",
    "SELECT a FROM t TABLESAMPLE BERNOULLI (10)",
    "SELECT gen_random_uuid() AS id FROM t",
]
DETERMINED = [
    "SELECT a FROM t",
    "SELECT a FROM t ORDER BY a LIMIT 3",
    "SELECT count(*) AS n FROM t LIMIT 1",
    "SELECT * FROM (SELECT count(*) AS n FROM t) x, (SELECT max(a) AS m FROM t) y LIMIT 100",
    "SELECT DISTINCT ON (a) a, b FROM t ORDER BY a, b",
    "SELECT row_number() OVER (ORDER BY a) AS n FROM t",
    "SELECT string_agg(s, ',' ORDER BY s) AS all_of_them FROM t",
    "SELECT sum(b) OVER (PARTITION BY a) AS n FROM t",
    "SELECT lower(s) AS l FROM t",
]


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
@pytest.mark.parametrize("sql", UNDETERMINED)
def test_what_the_data_do_not_determine_is_told(sql, dialect):
    assert parse(sql, read_schema(DDL, dialect)).nondeterminism


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
@pytest.mark.parametrize("sql", DETERMINED)
def test_what_the_data_determine_is_not_doubted(sql, dialect):
    assert parse(sql, read_schema(DDL, dialect)).nondeterminism == ()
