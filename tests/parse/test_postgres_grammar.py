"""Texts that sqlglot and Postgres read differently never pass; the many that they read alike do."""

from __future__ import annotations

import pytest

from rewriter.errors import QueryRejected
from rewriter.parse import parse, read_schema

CATALOG = read_schema("CREATE TABLE t (a int, b int, c text, d date, x numeric(10, 2), j jsonb)", "postgres")

MISREAD = [
    "SELECT 1_000 FROM t",  # sqlglot: 1 AS _000
    "SELECT @ a FROM t",  # sqlglot: a parameter
    'SELECT U&"pg\\005fsleep"(1)',  # sqlglot: U & "pg\005fsleep"(1)
    "SELECT current_timestamp(3) > d FROM t",  # sqlglot drops the precision
    "SELECT 'a'\n'b' AS c FROM t",
    "SELECT CAST(a AS double) FROM t",  # no such type in Postgres
    "SELECT year(d) FROM t",  # no such function
]
READ_ALIKE = [
    "SELECT a FROM t WHERE NOT a = 1 AND b < 2 OR c IS NULL",
    "SELECT a FROM t WHERE a NOT BETWEEN 1 AND 2 AND c NOT LIKE 'x%' AND c !~* 'y'",
    "SELECT 2 ^ 3 ^ 2, -2 ^ 2, a % b * 3, a - b - 1, a || c || 'x' FROM t",
    "SELECT substr(c, 1, 2), substring(c from 2), trim(c), position('x' in c), strpos(c, 'x') FROM t",
    "SELECT date_part('year', d), extract(year FROM d), date_trunc('month', d) FROM t",
    "SELECT round(x, 2), round(avg(a), 1) FROM t GROUP BY x",
    "SELECT d + interval '1 day', interval '3' day, '2 months'::interval, interval '30 days' FROM t",
    "SELECT a FROM t ORDER BY a DESC NULLS FIRST, b ASC NULLS LAST",
    "SELECT sum(a) OVER (ORDER BY b ROWS 1 PRECEDING) FROM t",
    "SELECT a IS NOT TRUE, a IS UNKNOWN, (a = 1) IS NOT FALSE FROM (SELECT a = 1 AS a FROM t) q",
    "SELECT j -> 'a' ->> 0, j #>> '{a,b}', j ? 'k' FROM t",
    "SELECT .5 + 1. + 1e3 AS n, a::text::varchar(3), e'a\\nb', $$it's$$ FROM t",
    "SELECT variance(a), stddev(a), ceiling(x), now(), mod(a, 2), char_length(c) FROM t GROUP BY x, a, c",
    "SELECT /* a /* nested */ comment */ a FROM t -- and another",
    "SELECT a FROM t FETCH FIRST 3 ROWS ONLY",
    "SELECT a FROM t WHERE (a, b) IN ((1, 2), (3, 4)) AND a = ANY (ARRAY[1, 2])",
]


@pytest.mark.parametrize("sql", MISREAD)
def test_what_is_read_differently_is_refused(sql):
    with pytest.raises(QueryRejected):
        parse(sql, CATALOG)


@pytest.mark.parametrize("sql", READ_ALIKE)
def test_what_is_read_alike_passes(sql):
    assert parse(sql, CATALOG).columns


def test_date_part_stays_what_it_is():
    """EXTRACT returns numeric, date_part double precision; the output's name differs too."""
    query = parse("SELECT date_part('year', d) FROM t", CATALOG)
    assert "date_part('year', t.d)" in query.sql().lower()
    assert query.columns == ("date_part",)
