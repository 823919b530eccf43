"""Filters pushed below: what goes, what is dropped, and that the answers stay the same on real data."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import pytest
from sqlglot import exp

from rewriter.parse import parse, read_schema
from rules.aggregate import fuse_scalar_subqueries, semi_join_before_grouping
from rules.cte import materialize_filtered, split_shared_cte
from rules.facts import Facts
from rules.join import other_value_to_min_max, self_join_to_min_max

SCHEMA = """
CREATE TABLE dim (id integer PRIMARY KEY, kind text, flag boolean);
CREATE TABLE fact (id integer PRIMARY KEY, dim_id integer, k integer, v integer, price decimal(10, 2));
"""
ROWS = """
INSERT INTO dim VALUES (1, 'a', true), (2, 'b', false), (3, NULL, true), (4, 'a', NULL);
INSERT INTO fact VALUES (1, 1, 1, 1, 1), (2, 1, 1, 2, 3), (3, 2, 1, NULL, NULL), (4, 3, NULL, 5, 7), (5, NULL, 2, 4, 7),
  (6, 4, 2, 4, 2), (7, 2, 3, NULL, 1), (8, 2, 3, 1, 2), (9, 4, NULL, 6, 1);
"""
CATALOG = read_schema(SCHEMA, "duckdb")
# An aggregate that the parser does not know, and of which the engine says that it is immutable.
FACTS = Facts(replace(CATALOG, functions={"product": "immutable"}))


def results(rule: object, sql: str) -> list[exp.Query]:
    return list(rule.rewrites(parse(sql, CATALOG).tree, FACTS))  # type: ignore[attr-defined]


def answer(sql: str) -> list[str]:
    with duckdb.connect(":memory:") as connection:
        connection.execute(SCHEMA + ROWS)
        return sorted(map(repr, connection.execute(sql).fetchall()))


UNION = "WITH u AS (SELECT 1 AS tag, {one} AS x FROM fact UNION ALL SELECT 2 AS tag, {other} AS x FROM fact) "
READ = "SELECT a.x / 2 AS half, b.x FROM u a JOIN u b ON a.x = b.x WHERE a.tag = 1 AND b.tag = 2"


@pytest.mark.parametrize(
    ("rule", "sql"),
    [
        (split_shared_cte, UNION.format(one="v", other="k") + READ),
        (split_shared_cte, UNION.format(one="v", other="price") + READ),
        (split_shared_cte, UNION.format(one="v", other="k").replace("UNION ALL", "UNION") + READ),
        (split_shared_cte, UNION.format(one="v", other="k").replace("UNION ALL", "EXCEPT") + READ),
        (
            split_shared_cte,
            "WITH g AS (SELECT f.k, f.dim_id, count(*) AS n FROM fact f GROUP BY f.k, f.dim_id) "
            "SELECT a.n, d.kind FROM g a LEFT JOIN dim d ON a.k = d.id AND d.flag "
            "WHERE a.dim_id = 2 AND EXISTS (SELECT 1 FROM g c WHERE c.dim_id = 4 AND c.k < a.k)",
        ),
        (
            materialize_filtered,
            "SELECT a.k, d.kind FROM fact a, dim d, dim e WHERE a.dim_id = d.id AND (d.flag AND e.id = a.k) AND "
            "e.kind = 'a' AND a.k IN (SELECT b.k FROM fact b, dim f WHERE b.dim_id = f.id AND f.flag)",
        ),
        (
            semi_join_before_grouping,
            "SELECT g.k, g.n FROM (SELECT f.k, f.dim_id, count(*) AS n FROM fact f GROUP BY f.k, f.dim_id) g "
            "JOIN dim d ON g.dim_id = d.id WHERE d.kind = 'a'",
        ),
        (
            semi_join_before_grouping,
            "SELECT g.kind, g.k, g.n FROM (SELECT 'x' AS kind, f.k, count(f.v) AS n FROM fact f GROUP BY f.k "
            "UNION ALL SELECT 'y' AS kind, e.v, sum(e.k) FROM fact e GROUP BY e.v) g, dim d "
            "WHERE g.k = d.id AND d.flag",
        ),
        (
            other_value_to_min_max,
            "SELECT f.id FROM fact f WHERE EXISTS (SELECT 1 FROM fact g WHERE g.k = f.k AND g.v <> f.v)",
        ),
        (
            other_value_to_min_max,
            "SELECT f.id FROM fact f WHERE NOT EXISTS (SELECT 1 FROM fact g WHERE g.k = f.k AND g.v <> f.v)",
        ),
        (
            other_value_to_min_max,
            "SELECT f.id FROM fact f WHERE NOT EXISTS "
            "(SELECT 1 FROM fact g WHERE g.k = f.k AND g.v <> f.v AND g.price > 1)",
        ),
        (
            other_value_to_min_max,
            "SELECT f.id FROM fact f WHERE f.price > 1 AND NOT EXISTS "
            "(SELECT 1 FROM fact g WHERE g.k = f.k AND g.v <> f.v AND g.price > 1)",
        ),
        (
            other_value_to_min_max,
            "SELECT d.id, f.id AS fact FROM dim d LEFT JOIN fact f ON f.dim_id = d.id AND f.v > 1 "
            "WHERE f.k IS NULL OR NOT EXISTS (SELECT 1 FROM fact g WHERE g.k = f.k AND g.v <> f.v)",
        ),
        (
            self_join_to_min_max,
            "SELECT d.id FROM dim d WHERE d.id NOT IN (SELECT a.k FROM fact a, fact b WHERE a.k = b.k AND a.v <> b.v)",
        ),
        (
            fuse_scalar_subqueries,
            "SELECT (SELECT count(*) FROM fact a WHERE a.v > 100) AS n, (SELECT sum(b.v) FROM fact b WHERE b.k = 9) "
            "AS s, (SELECT max(c.v) + 1 FROM fact c WHERE c.k = 1) AS m",
        ),
    ],
)
def test_the_answer_stays_the_same(rule: object, sql: str) -> None:
    rewritten = results(rule, sql)
    assert rewritten
    for tree in rewritten:
        assert answer(tree.sql(dialect="duckdb")) == answer(sql)


def test_a_union_branch_goes_only_when_its_types_are_the_same() -> None:
    same, differing = (
        results(split_shared_cte, UNION.format(one="v", other=other) + READ)[0] for other in ("k", "price")
    )
    assert same.find(exp.Union) is None
    assert differing.find(exp.Union) is not None


def test_a_filter_that_does_not_reach_every_row_stays_above() -> None:
    sql = (
        "WITH g AS (SELECT f.k, sum(f.v) AS total FROM fact f GROUP BY f.k) "
        "SELECT a.total FROM g a, g b WHERE a.k = 1 AND a.total > 2 AND b.k = 2"
    )
    (tree,) = results(split_shared_cte, sql)
    outer = tree.args["where"].sql()
    assert "total > 2" in outer
    assert "k = 1" not in outer


@pytest.mark.parametrize(
    ("rule", "sql"),
    [
        # Volatile filters run once per row and place.
        (
            split_shared_cte,
            "WITH g AS (SELECT f.k FROM fact f) SELECT a.k FROM g a, g b WHERE a.k > random() AND b.k > random()",
        ),
        # Unknown functions may be aggregates, which would escape the FILTER.
        (
            fuse_scalar_subqueries,
            "SELECT (SELECT count(*) + product(a.v) FROM fact a WHERE a.k = 1) AS n, "
            "(SELECT sum(b.v) FROM fact b WHERE b.k = 2) AS m",
        ),
        # BOOLEAN has no MIN.
        (
            other_value_to_min_max,
            "SELECT d.id FROM dim d WHERE EXISTS (SELECT 1 FROM dim e WHERE e.kind = d.kind AND e.flag <> d.flag)",
        ),
        (
            self_join_to_min_max,
            "SELECT d.id FROM dim d WHERE d.kind IN (SELECT a.kind FROM dim a, dim b "
            "WHERE a.kind = b.kind AND a.flag <> b.flag)",
        ),
    ],
)
def test_is_left_alone(rule: object, sql: str) -> None:
    assert not results(rule, sql)
