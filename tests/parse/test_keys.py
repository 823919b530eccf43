"""The rewrite key tells apart whatever may change a rewrite; the group key may lump it together."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriter.parse import parse, read_schema

DDL = """
CREATE TABLE t (a int, b int, c numeric(10, 2), d date, s text, flag boolean);
CREATE TABLE u (a int, b int);
CREATE TABLE orders_2024 (a int); CREATE TABLE orders_2025 (a int);
"""
CATALOGS = {dialect: read_schema(DDL, dialect) for dialect in ("postgres", "duckdb")}


def key(sql: str, dialect: str = "postgres") -> str:
    return parse(sql, CATALOGS[dialect]).rewrite_key


# What libpg_query's fingerprint takes for equal (measured), and more of the kind.
DIFFERENT = [
    ("SELECT a, b FROM t", "SELECT b, a FROM t"),
    ("SELECT coalesce(a, b) FROM t", "SELECT coalesce(b, a) FROM t"),
    ("SELECT mod(a, b) FROM t", "SELECT mod(b, a) FROM t"),
    ("SELECT a, b FROM t ORDER BY 1", "SELECT a, b FROM t ORDER BY 2"),
    ("SELECT a FROM t WHERE a = NULL", "SELECT a FROM t WHERE a = 1"),
    ("SELECT a FROM t WHERE true", "SELECT a FROM t WHERE false"),
    ("SELECT a / 2 FROM t", "SELECT a / 2.0 FROM t"),
    ("SELECT c::numeric(10, 2) FROM t", "SELECT c::numeric(10, 4) FROM t"),
    ("SELECT d + interval '1 day' FROM t", "SELECT d + interval '1 year' FROM t"),
    ("SELECT a FROM t WHERE s LIKE 'a%'", "SELECT a FROM t WHERE s LIKE '%a'"),
    ("SELECT * FROM t, u", "SELECT * FROM u, t"),
    ("SELECT a FROM orders_2024", "SELECT a FROM orders_2025"),
    (
        "SELECT sum(a) OVER (ORDER BY b ROWS 1 PRECEDING) FROM t",
        "SELECT sum(a) OVER (ORDER BY b ROWS 2 PRECEDING) FROM t",
    ),
    ("SELECT a FROM t TABLESAMPLE BERNOULLI (10)", "SELECT a FROM t TABLESAMPLE BERNOULLI (20)"),
    ("SELECT a FROM t WHERE a IN (1, 2)", "SELECT a FROM t WHERE a IN (1, 2, 3)"),
    ("SELECT a FROM t ORDER BY a LIMIT 1", "SELECT a FROM t ORDER BY a"),
    ("SELECT a FROM t ORDER BY a LIMIT 1", "SELECT a FROM t ORDER BY a LIMIT 2"),
    ("SELECT a FROM t ORDER BY a", "SELECT a FROM t ORDER BY a DESC"),
    ("SELECT a FROM t ORDER BY a", "SELECT a FROM t ORDER BY a NULLS FIRST"),
    ("SELECT a AS x FROM t", "SELECT a AS y FROM t"),
    ("SELECT a FROM t WHERE a = 1", "SELECT a FROM t WHERE a = '1'"),
    ("SELECT a FROM t WHERE a = 1", "SELECT a FROM t WHERE a = 1.5"),
    ("SELECT a FROM t WHERE a = 1", "SELECT a FROM t WHERE a = 3000000000"),
    ("SELECT a FROM t WHERE a = 1 AND b = 1", "SELECT a FROM t WHERE a = 1 AND b = 2"),
    ("SELECT count(a) FROM t", "SELECT count(DISTINCT a) FROM t"),
    ("SELECT a FROM t UNION SELECT a FROM u", "SELECT a FROM t UNION ALL SELECT a FROM u"),
    ("SELECT a FROM t WHERE a = $1", "SELECT a FROM t WHERE a = 1"),
    ("SELECT a FROM t WHERE a = $1::int", "SELECT a FROM t WHERE a = $1::bigint"),
    ("SELECT a FROM t WHERE a = $1 AND b = $2", "SELECT a FROM t WHERE a = $2 AND b = $1"),
    ("SELECT substr(s, 1, 2) FROM t", "SELECT substr(s, 2, 2) FROM t"),
    ("SELECT a FROM t WHERE d > date '2020-01-01' + 1", "SELECT a FROM t WHERE d > date '2020-01-01' + 2"),
]


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_statements_that_need_their_own_rewrite_have_their_own_key(one, other, dialect):
    assert key(one, dialect) != key(other, dialect)


SAME = [
    ("SELECT a FROM t WHERE a = 1", "SELECT a FROM t WHERE a = 2"),
    ("SELECT a FROM t WHERE s = 'x'", "SELECT a FROM t WHERE s = 'it''s'"),
    ("SELECT a FROM t WHERE a BETWEEN 1 AND 2", "SELECT a FROM t WHERE a BETWEEN 5 AND 9"),
    ("SELECT a FROM t WHERE a IN (1, 2)", "SELECT a FROM t WHERE a IN (7, 8)"),
    ("SELECT a FROM t WHERE d >= date '2020-01-01'", "SELECT a FROM t WHERE d >= date '2021-05-05'"),
    ("SELECT a FROM t WHERE a = 1", "select  A\nfrom T -- comment\n where a=2 ;"),
]  # fmt: skip


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
@pytest.mark.parametrize(("one", "other"), SAME)
def test_literals_of_one_type_in_comparisons_share_a_key(one, other, dialect):
    assert key(one, dialect) == key(other, dialect)


@given(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))
def test_any_two_integers_share_a_key(one, other):
    assert key(f"SELECT a FROM t WHERE a < {one}") == key(f"SELECT a FROM t WHERE a < {other}")


def test_the_key_rests_on_catalog_settings_and_dialect():
    catalog = CATALOGS["postgres"]
    sql = "SELECT a FROM t"
    other_settings = dataclasses.replace(catalog, settings={"TimeZone": "Asia/Tokyo"})
    other_catalog = read_schema(DDL.replace("a int,", "a int NOT NULL,", 1), "postgres")
    keys = {key(sql, "postgres"), key(sql, "duckdb")}
    keys |= {parse(sql, other).rewrite_key for other in (other_settings, other_catalog)}
    assert len(keys) == 4


def test_row_counts_are_no_part_of_the_key():
    sql = "SELECT a FROM t"
    assert parse(sql, read_schema(DDL, "postgres", {"t": 10})).rewrite_key == key(sql)


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
def test_the_group_key_ignores_every_literal(dialect):
    catalog = CATALOGS[dialect]
    one = parse("SELECT a FROM t WHERE a = 1 ORDER BY a LIMIT 5", catalog).group_key
    assert one == parse("SELECT a FROM t WHERE a = 22 ORDER BY a LIMIT 9", catalog).group_key
    assert one != parse("SELECT b FROM t WHERE a = 1 ORDER BY a LIMIT 5", catalog).group_key
