"""Mutants of a query, and what they say of the databases that a candidate was tested on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rewriter.catalog import Catalog
from rewriter.parse import parse
from rewriter.records import Verdict
from rewriter.verify.mutants import MOST, mutants
from rules.facts import Facts

Hold = Callable[..., Verdict]

QUERIES = {
    "SELECT o.id FROM orders o WHERE o.total > 5": ["o.total > 5 became o.total >= 5", "o.total > 5 became TRUE"],
    "SELECT o.id FROM orders o LEFT JOIN item i ON i.order_id = o.id": ["became JOIN item AS i"],
    "SELECT o.id FROM orders o JOIN item i ON i.order_id = o.id": ["became LEFT JOIN item AS i"],
    "SELECT DISTINCT o.status FROM orders o": ["DISTINCT taken from"],
    "SELECT COUNT(DISTINCT o.status) AS n FROM orders o": ["became COUNT(o.status)"],
    "SELECT o.status, SUM(o.total) AS s FROM orders o GROUP BY o.status, o.day": ["GROUP BY lost o.day"],
    "SELECT o.id FROM orders o WHERE o.referrer_id IS NULL": ["became NOT o.referrer_id IS NULL"],
    "SELECT o.id FROM orders o UNION SELECT c.id FROM customer c": ["UNION ALL"],
    "SELECT o.id FROM orders o ORDER BY o.id LIMIT 3": ["LIMIT 3 became LIMIT 4", "o.id DESC"],
    "SELECT o.id FROM orders o WHERE EXISTS (SELECT 1 FROM item i WHERE i.order_id = o.id)": ["became NOT EXISTS"],
    "SELECT o.id FROM orders o WHERE o.day > DATE '2024-01-01' OR o.total = 3": [" AND o.total = 3"],
}


@pytest.mark.parametrize("text", QUERIES)
def test_each_kind_of_fault_is_made(shop: Catalog, text: str) -> None:
    made = mutants(parse(text, shop).tree, Facts(shop))
    for fault in QUERIES[text]:
        assert any(fault in mutant.fault for mutant in made), [mutant.fault for mutant in made]


@pytest.mark.parametrize("text", QUERIES)
def test_mutants_differ_from_the_query_and_from_each_other(shop: Catalog, text: str) -> None:
    query = parse(text, shop)
    texts = [mutant.tree.sql("duckdb") for mutant in mutants(query.tree, Facts(shop))]
    assert len(set(texts)) == len(texts)
    assert query.tree.sql("duckdb") not in texts


def test_a_long_query_has_no_more_mutants_than_asked_for_and_the_same_for_one_seed(shop: Catalog) -> None:
    long = parse("SELECT o.id FROM orders o WHERE " + " AND ".join(f"o.id > {n}" for n in range(40)), shop)
    first, again, other = (mutants(long.tree, Facts(shop), seed) for seed in (1, 1, 2))
    assert len(first) == MOST
    assert [mutant.fault for mutant in first] == [mutant.fault for mutant in again]
    assert [mutant.fault for mutant in first] != [mutant.fault for mutant in other]


def test_a_certificate_says_how_many_mutants_its_databases_killed(hold: Hold) -> None:
    verdict = hold(
        "SELECT o.id FROM orders o WHERE o.total > 5 AND o.customer_id = 3",
        "SELECT o.id FROM orders o WHERE o.customer_id = 3 AND o.total > 5",
    )
    assert verdict.adequacy is not None
    assert verdict.adequacy.mutants
    assert verdict.adequacy.killed == verdict.adequacy.mutants - len(verdict.adequacy.alive)
    assert verdict.adequacy.killed >= 0.8 * verdict.adequacy.mutants


def test_a_fault_that_changes_nothing_stays_alive_and_is_named(hold: Hold) -> None:
    verdict = hold(
        "SELECT i.line FROM item i WHERE i.quantity >= 1 AND i.price > 2",
        "SELECT i.line FROM item i WHERE i.price > 2 AND i.quantity >= 1",
    )
    assert verdict.adequacy is not None
    # quantity is NULL or between 1 and 9, by the table's CHECK
    assert "i.quantity >= 1 became i.quantity >= 0" in verdict.adequacy.alive or any(
        "1 became 0" in fault for fault in verdict.adequacy.alive
    )
