"""The verifier on pairs whose truth is known by argument."""

from __future__ import annotations

import time
from collections.abc import Callable

import duckdb
import pytest

from rewriter.catalog import Catalog
from rewriter.engines import DuckDB
from rewriter.parse import parse
from rewriter.records import Verdict, VerdictKind
from rewriter.verify import Verifier, certify

Hold = Callable[..., Verdict]

EQUAL = {
    "foreign key join that is not null": (
        "SELECT o.id FROM orders o JOIN customer c ON c.id = o.customer_id",
        "SELECT id FROM orders",
    ),
    "filter order": (
        "SELECT name FROM customer WHERE city = 'Rome' AND credit > 10",
        "SELECT name FROM customer WHERE credit > 10 AND city = 'Rome'",
    ),
    "not null makes not in and not exists agree": (
        "SELECT c.id FROM customer c WHERE c.id NOT IN (SELECT customer_id FROM orders)",
        "SELECT c.id FROM customer c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id)",
    ),
    "exists and distinct join": (
        "SELECT c.id FROM customer c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id AND o.total > 5)",
        "SELECT DISTINCT c.id FROM customer c JOIN orders o ON o.customer_id = c.id WHERE o.total > 5",
    ),
    "check constraint decides a filter": ("SELECT id FROM orders", "SELECT id FROM orders WHERE status <> 'lost'"),
    "order up to ties": (
        "SELECT id, city FROM customer ORDER BY city",
        "SELECT id, city FROM customer ORDER BY city, id DESC",
    ),
    "limit with ties may choose": (
        "SELECT id FROM customer ORDER BY city LIMIT 2",
        "SELECT id FROM customer ORDER BY city, id LIMIT 2",
    ),
    "limit without order may choose": (
        "SELECT id FROM customer LIMIT 2",
        "SELECT id FROM customer ORDER BY id DESC LIMIT 2",
    ),
    "ties inside": (
        "SELECT id FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY city) AS n FROM customer) t WHERE n = 1",
        "SELECT id FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY city, id) AS n FROM customer) t WHERE n = 1",
    ),
    "correlated average as a join": (
        "SELECT o.id FROM orders o"
        " WHERE o.total > (SELECT AVG(p.total) FROM orders p WHERE p.customer_id = o.customer_id)",
        "SELECT o.id FROM orders o JOIN (SELECT customer_id, AVG(total) AS mean FROM orders GROUP BY customer_id) m"
        " ON m.customer_id = o.customer_id WHERE o.total > m.mean",
    ),
    "no table": ("SELECT 1 + 1 AS two", "SELECT 2 AS two"),
}

DIFFERENT = {
    "nullable foreign key": (
        "SELECT o.id FROM orders o JOIN customer c ON c.id = o.referrer_id",
        "SELECT id FROM orders",
    ),
    "not in with null": (
        "SELECT c.id FROM customer c WHERE c.id NOT IN (SELECT referrer_id FROM orders)",
        "SELECT c.id FROM customer c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.referrer_id = c.id)",
    ),
    "lost duplicates": ("SELECT city FROM customer", "SELECT DISTINCT city FROM customer"),
    "unique key lets nulls repeat": ("SELECT mail FROM customer", "SELECT DISTINCT mail FROM customer"),
    "left join and where": (
        "SELECT c.id FROM customer c LEFT JOIN orders o ON o.customer_id = c.id AND o.total > 5",
        "SELECT c.id FROM customer c LEFT JOIN orders o ON o.customer_id = c.id WHERE o.total > 5",
    ),
    "empty table": ("SELECT SUM(total) AS s FROM orders", "SELECT COALESCE(SUM(total), 0) AS s FROM orders"),
    "boundary": ("SELECT id FROM orders WHERE total > 100", "SELECT id FROM orders WHERE total >= 100"),
    "boundary of a date": (
        "SELECT id FROM orders WHERE day < DATE '2001-03-01'",
        "SELECT id FROM orders WHERE day <= DATE '2001-02-27'",
    ),
    "count threshold": (
        "SELECT customer_id FROM orders GROUP BY customer_id HAVING COUNT(*) > 5",
        "SELECT customer_id FROM orders GROUP BY customer_id HAVING COUNT(*) >= 5",
    ),
    "sum threshold": (
        "SELECT customer_id FROM orders GROUP BY customer_id HAVING SUM(total) > 1000",
        "SELECT customer_id FROM orders GROUP BY customer_id HAVING SUM(total) >= 1000",
    ),
    "like": (
        "SELECT id FROM customer WHERE name LIKE 'Mc%'",
        "SELECT id FROM customer WHERE name LIKE '%Mc%'",
    ),
    "fan-out": (
        "SELECT o.id, SUM(i.price) AS s FROM orders o JOIN item i ON i.order_id = o.id JOIN visit v"
        " ON v.customer_id = o.customer_id GROUP BY o.id",
        "SELECT o.id, SUM(i.price) AS s FROM orders o JOIN item i ON i.order_id = o.id"
        " WHERE EXISTS (SELECT 1 FROM visit v WHERE v.customer_id = o.customer_id) GROUP BY o.id",
    ),
    "order": ("SELECT city FROM customer ORDER BY city", "SELECT city FROM customer ORDER BY city DESC"),
    "order by a column that is not selected": (
        "SELECT id FROM customer ORDER BY credit",
        "SELECT id FROM customer ORDER BY id",
    ),
    "limit": ("SELECT id FROM customer ORDER BY id LIMIT 2", "SELECT id FROM customer ORDER BY id LIMIT 3"),
    "rollup order": (
        "SELECT city, name, COUNT(*) AS n FROM customer GROUP BY ROLLUP (city, name)",
        "SELECT city, name, COUNT(*) AS n FROM customer GROUP BY ROLLUP (name, city)",
    ),
    "union all": (
        "SELECT city FROM customer WHERE credit > 1 UNION ALL SELECT city FROM customer WHERE credit > 2",
        "SELECT city FROM customer WHERE credit > 1 UNION SELECT city FROM customer WHERE credit > 2",
    ),
    "lost join predicate": (
        "SELECT o.id FROM orders o, customer c WHERE c.id = o.customer_id AND c.city = 'Rome' AND o.total > 7",
        "SELECT o.id FROM orders o, customer c WHERE c.city = 'Rome' AND o.total > 7",
    ),
}


@pytest.mark.parametrize("case", EQUAL)
def test_equivalent_pairs_are_tested_and_not_refuted(hold: Hold, case: str) -> None:
    verdict = hold(*EQUAL[case], seconds=0.5)
    assert verdict.kind is not VerdictKind.REFUTED, verdict.reason
    if case != "ties inside":
        assert verdict.kind is VerdictKind.TESTED, verdict.reason
    assert verdict.adequacy is not None
    assert verdict.adequacy.databases > 0


@pytest.mark.parametrize("case", DIFFERENT)
def test_a_difference_is_found_and_its_script_shows_it(hold: Hold, case: str) -> None:
    verdict = hold(*DIFFERENT[case], seconds=4.0)
    assert verdict.kind is VerdictKind.REFUTED, verdict.reason
    found = verdict.counterexample
    assert found is not None
    answers = run_script(found.scripts["duckdb"])
    assert answers[0] != answers[1]
    assert verdict.confirmed_on


def run_script(script: str) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """Run a counterexample in an empty DuckDB: the answers of its last two statements."""
    statements = [part for part in script.split(";\n") if part.strip()]
    with duckdb.connect(config={"threads": 1}) as connection:
        for statement in statements[:-2]:
            connection.execute(statement)
        first, second = (connection.execute(statement).fetchall() for statement in statements[-2:])
    return first, second


def test_counterexamples_are_small(hold: Hold) -> None:
    verdict = hold(*DIFFERENT["nullable foreign key"])
    assert verdict.counterexample is not None
    assert verdict.counterexample.database.size == 1


def test_a_candidate_that_fails_where_the_original_succeeds_is_refuted(hold: Hold) -> None:
    verdict = hold(
        "SELECT c.id FROM customer c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id)",
        "SELECT c.id FROM customer c WHERE c.id = (SELECT o.customer_id FROM orders o WHERE o.customer_id = c.id)",
    )
    assert verdict.kind is VerdictKind.REFUTED
    assert "fails" in verdict.reason


def test_float_association_is_told_apart(hold: Hold) -> None:
    verdict = hold(
        "SELECT (a + b) + c AS x FROM t",
        "SELECT a + (b + c) AS x FROM t",
        schema="CREATE TABLE t (a DOUBLE, b DOUBLE, c DOUBLE)",
        seconds=5.0,
    )
    assert verdict.kind is VerdictKind.REFUTED


@pytest.mark.parametrize(
    "candidate",
    [
        "SELECT id, name AS label FROM customer",
        "SELECT name, id FROM customer",
        "SELECT id FROM customer",
        "SELECT id, 1 AS name FROM customer",
    ],
)
def test_other_columns_are_refuted_by_shape(hold: Hold, candidate: str) -> None:
    verdict = hold("SELECT id, name FROM customer", candidate)
    assert verdict.kind is VerdictKind.REFUTED
    assert verdict.method == "shape"


def test_an_original_that_returns_nothing_is_not_called_tested(hold: Hold) -> None:
    verdict = hold("SELECT id FROM customer WHERE 1 = 0", "SELECT id FROM customer WHERE FALSE")
    assert verdict.kind is VerdictKind.UNKNOWN


def test_an_undetermined_original_is_not_blamed_on_the_candidate(hold: Hold) -> None:
    original = "SELECT ARRAY_AGG(name) AS names FROM customer"
    verdict = hold(original, "SELECT ARRAY_AGG(name ORDER BY id DESC) AS names FROM customer")
    assert verdict.kind is not VerdictKind.REFUTED


def test_the_same_seed_gives_the_same_counterexample(shop: Catalog, hunter: DuckDB) -> None:
    original, candidate = (parse(text, shop) for text in DIFFERENT["left join and where"])
    first, second = (certify(original, candidate.tree, "certify", hunter, seed=3, seconds=3.0) for _ in range(2))
    assert first.counterexample is not None
    assert second.counterexample is not None
    assert first.counterexample.database == second.counterexample.database


def test_screening_reuses_its_databases_and_is_quick(shop: Catalog, hunter: DuckDB) -> None:
    original = parse(EQUAL["correlated average as a join"][0], shop)
    verifier = Verifier(original, hunter)
    verifier.screen(original.tree)
    started = time.monotonic()
    for _ in range(3):
        assert verifier.screen(original.tree).kind is VerdictKind.TESTED
    assert (time.monotonic() - started) / 3 < 0.5


def test_screening_refutes_what_is_plainly_wrong(shop: Catalog, hunter: DuckDB) -> None:
    for case in ("lost duplicates", "lost join predicate", "not in with null"):
        original, candidate = (parse(text, shop) for text in DIFFERENT[case])
        assert Verifier(original, hunter).screen(candidate.tree).kind is VerdictKind.REFUTED, case


def test_a_lost_limit_of_many_rows_is_noticed(hold: Hold) -> None:
    query = "SELECT o.id, c.name FROM orders o JOIN customer c ON c.id = o.customer_id ORDER BY o.id LIMIT {}"
    for candidate in (query.format(101), query.format(100).replace("LIMIT 100", "")):
        verdict = hold(query.format(100), candidate)
        assert verdict.kind is VerdictKind.REFUTED, candidate


@pytest.mark.parametrize(
    ("one", "two", "clause"),
    [
        ("SELECT id FROM customer WHERE credit > 1", "SELECT id FROM customer WHERE credit >= 1", "WHERE"),
        ("SELECT DISTINCT city FROM customer", "SELECT city FROM customer", "DISTINCT"),
        (
            "SELECT c.id FROM customer c LEFT JOIN orders o ON o.customer_id = c.id",
            "SELECT c.id FROM customer c JOIN orders o ON o.customer_id = c.id",
            "FROM",
        ),
        (
            "SELECT city, COUNT(*) FROM customer GROUP BY city HAVING COUNT(*) > 1",
            "SELECT city, COUNT(*) FROM customer GROUP BY city HAVING COUNT(*) > 2",
            "HAVING",
        ),
        (
            "SELECT id FROM customer WHERE id IN (SELECT customer_id FROM orders WHERE total > 5)",
            "SELECT id FROM customer WHERE id IN (SELECT customer_id FROM orders WHERE total < 5)",
            "inner",
        ),
    ],
)
def test_a_counterexample_names_the_clause_that_makes_the_difference(
    hold: Hold, one: str, two: str, clause: str
) -> None:
    found = hold(one, two).counterexample
    assert found is not None
    assert clause in found.explanation
