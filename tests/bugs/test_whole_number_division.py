"""Postgres divides whole numbers to whole numbers. The hunter divided them to fractions, so that without a Postgres to
judge a rewrite by fractions was said to be tested."""

from __future__ import annotations

import pytest

from rewriter.engines import DuckDB
from rewriter.engines.base import Limits
from rewriter.parse import parse, read_schema
from rewriter.records import Database, Result, TableRows, VerdictKind
from rewriter.verify import Verifier

CATALOG = read_schema("CREATE TABLE t (id integer PRIMARY KEY, x integer, b bigint, n numeric(8, 2))", "postgres")


def test_a_rewrite_that_divides_to_fractions_is_refuted(hunter: DuckDB) -> None:
    query = parse("SELECT id FROM t WHERE x / 2 >= -1", CATALOG)
    wrong = parse("SELECT id FROM t WHERE x >= -1 * 2", CATALOG)
    assert Verifier(query, hunter).certify(wrong.tree, seconds=10.0).kind is VerdictKind.REFUTED


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("x / 2", [-1, 3]),
        ("x / -2", [1, -3]),
        ("(x + 1) / 2 * 2", [-2, 8]),
        ("n / 2", [0.75, 1.0]),
        ("x / 2.0", [-1.5, 3.5]),
        ("b / 10", [922337203685477580, 0]),
        ("sum(x) OVER (ORDER BY id) / 2", [-1, 2]),
        ("count(*) OVER () / 4", [0, 0]),
    ],
)
def test_the_hunter_divides_as_postgres_does(hunter: DuckDB, expression: str, expected: list[float]) -> None:
    query = parse(f"SELECT {expression} AS q FROM t ORDER BY id", CATALOG)
    rows = TableRows("t", ("id", "x", "b", "n"), ((1, -3, 9223372036854775807, 1.5), (2, 7, 5, 2)))
    ((result,),) = hunter.run_on(CATALOG, [Database((rows,))], [query.tree], Limits(10.0, 10))
    assert isinstance(result, Result)
    assert [float(row[0]) for row in result.rows] == [float(value) for value in expected]
