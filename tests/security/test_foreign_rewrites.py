"""What a model hands back is held to the relations and parameters of the original."""

from __future__ import annotations

import pytest

from rewriter.errors import InputError
from rewriter.parse import parse, parse_candidate, read_schema

CATALOG = read_schema(
    "CREATE TABLE t (a int, b int); CREATE TABLE secret (a int); CREATE VIEW v AS SELECT a FROM t", "postgres"
)
ORIGINAL = parse("SELECT a FROM t WHERE b IN (SELECT b FROM t WHERE a = $1)", CATALOG)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM t AS u WHERE u.b = t.b AND u.a = $1)",
        "WITH secret AS (SELECT a, b FROM t) SELECT secret.a FROM secret WHERE b = $1",
        "SELECT a FROM v",
    ],
)
def test_a_rewrite_over_the_same_relations_passes(sql):
    assert parse_candidate(sql, ORIGINAL).named_selects == ["a"]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a FROM secret",
        "SELECT a FROM t UNION ALL SELECT a FROM secret",
        "SELECT a FROM t WHERE a IN (SELECT a FROM secret)",
        "SELECT a FROM (WITH secret AS (SELECT a FROM t) SELECT a FROM secret) q WHERE a IN (SELECT a FROM secret)",
        "SELECT a FROM t WHERE a = $2",
        "SELECT pg_sleep(1) AS a",
        "DELETE FROM t",
        "SELECT a FROM t; SELECT a FROM t",
        "Here is your query: SELECT a FROM t",
    ],
)
def test_a_rewrite_that_reads_more_is_refused(sql):
    with pytest.raises(InputError):
        parse_candidate(sql, ORIGINAL)
