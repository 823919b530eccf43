"""Pairs that differ and that the rung algebra proved equal (found in review, before any release)."""

from __future__ import annotations

import pytest

from rewriter.parse import parse, read_schema
from rewriter.verify.algebra import prove

SCHEMA = """
CREATE TABLE t (id int PRIMARY KEY, v int, n numeric, m numeric(8, 1), i interval, j interval, a char(3), b char(5),
                at timestamp)
"""
PAIRS = {
    "a function of several rows": (
        "SELECT id FROM (SELECT id, generate_series(1, 2) AS g FROM t) AS x",
        "SELECT id FROM t",
        "postgres",
    ),
    "an aggregate that the parser does not know": (
        "SELECT product(v) FROM t WHERE id < 0 AND id > 0",
        "SELECT v FROM t WHERE FALSE",
        "duckdb",
    ),
    "equal numbers of different scale as text": (
        "SELECT CAST(n AS text) FROM t WHERE n = m",
        "SELECT CAST(m AS text) FROM t WHERE n = m",
        "postgres",
    ),
    "equal intervals that are not the same": (
        "SELECT i FROM t WHERE i = j",
        "SELECT j FROM t WHERE i = j",
        "postgres",
    ),
    "CHAR of two lengths made distinct": (
        "SELECT a FROM t UNION SELECT b FROM t",
        "SELECT b FROM t UNION SELECT a FROM t",
        "postgres",
    ),
    "seconds are no whole numbers": (
        "SELECT id FROM t WHERE EXTRACT(SECOND FROM at) > 5",
        "SELECT id FROM t WHERE EXTRACT(SECOND FROM at) >= 6",
        "postgres",
    ),
    "one choice and two": (
        "WITH x AS (SELECT id FROM t LIMIT 1) SELECT a.id FROM x AS a, x AS b WHERE a.id = b.id",
        "SELECT a.id FROM (SELECT id FROM t LIMIT 1) AS a, (SELECT id FROM t LIMIT 1) AS b WHERE a.id = b.id",
        "duckdb",
    ),
    "IS NOT NULL is a flag of IS": (
        "SELECT id FROM t WHERE v IS NOT NULL",
        "SELECT id FROM t WHERE v IS NULL",
        "postgres",
    ),
}


@pytest.mark.parametrize(("one", "two", "dialect"), PAIRS.values(), ids=PAIRS)
def test_it_is_not_proved(one: str, two: str, dialect: str) -> None:
    catalog = read_schema(SCHEMA, dialect)
    first, second = (parse(sql, catalog).stated for sql in (one, two))
    assert not prove(first, second, catalog).proved
    assert not prove(second, first, catalog).proved
