"""Two subqueries that differ only in which relation a shadowed name means were taken for equal by
cte/hoist_repeated_subquery (found in review, never released)."""

from __future__ import annotations

import duckdb

from rewriter.parse import parse, read_schema
from rules.cte.hoist_repeated_subquery import rewrites
from rules.facts import Facts

SCHEMA = "CREATE TABLE t (x int); CREATE TABLE u (x int);"
# In the first EXISTS ``t`` is the table u, in the second it is the outer t.
QUERY = """
SELECT a.n, b.n AS m
FROM (SELECT COUNT(*) AS n FROM t WHERE EXISTS (SELECT 1 FROM u AS t WHERE t.x = 1)) AS a,
     (SELECT COUNT(*) AS n FROM t WHERE EXISTS (SELECT 1 FROM u AS v WHERE t.x = 1)) AS b
"""


def test_they_are_not_shared() -> None:
    catalog = read_schema(SCHEMA, "duckdb")
    query = parse(QUERY, catalog)
    with duckdb.connect(":memory:") as connection:
        connection.execute(SCHEMA + "INSERT INTO t VALUES (1), (2); INSERT INTO u VALUES (2);")
        expected = connection.execute(QUERY).fetchall()
        assert expected == [(0, 1)]
        for tree in rewrites(query.tree, Facts(catalog)):
            assert connection.execute(tree.sql(dialect="duckdb")).fetchall() == expected
