"""The commonest error of a careless rewrite is a lost predicate. Data of a benchmark satisfies it by construction and
never shows it; generated databases must."""

from __future__ import annotations

import pytest

from rewriter.catalog import Catalog
from rewriter.engines import DuckDB
from rewriter.parse import parse
from rewriter.records import VerdictKind
from rewriter.verify import Verifier
from rewriter.verify.mutants import without_conditions

QUERIES = [
    "SELECT c.city, SUM(i.price * i.quantity) AS revenue FROM customer c, orders o, item i"
    " WHERE c.id = o.customer_id AND i.order_id = o.id AND o.day >= DATE '2001-01-01'"
    " AND o.day < DATE '2001-01-01' + INTERVAL 3 MONTH AND o.status = 'paid' AND c.city IN ('Rome', 'Oslo')"
    " GROUP BY c.city ORDER BY revenue DESC",
    "SELECT c.name FROM customer c WHERE c.credit > 100 AND EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id"
    " AND o.total > 50 AND o.status = 'open') AND c.id NOT IN (SELECT v.customer_id FROM visit v"
    " WHERE v.page = 'home' AND v.customer_id IS NOT NULL)",
    "WITH big AS (SELECT o.customer_id, COUNT(*) AS n FROM orders o JOIN item i ON i.order_id = o.id"
    " WHERE i.product LIKE 'tea%' GROUP BY o.customer_id HAVING COUNT(*) > 2)"
    " SELECT c.name, b.n FROM big b JOIN customer c ON c.id = b.customer_id WHERE c.city <> 'Oslo' AND b.n < 9",
    "SELECT i.product FROM item i JOIN orders o ON o.id = i.order_id WHERE i.quantity < (SELECT 0.5 * AVG(j.quantity)"
    " FROM item j WHERE j.product = i.product) AND o.referrer_id IS NULL",
]


@pytest.mark.parametrize("text", [QUERIES[0], *(pytest.param(text, marks=pytest.mark.slow) for text in QUERIES[1:])])
def test_most_lost_predicates_are_noticed(shop: Catalog, hunter: DuckDB, text: str) -> None:
    original = parse(text, shop)
    verifier = Verifier(original, hunter, seed=2)
    mutants = [(mutant.fault, mutant.tree) for mutant in without_conditions(original.tree)]
    survivors = [lost for lost, tree in mutants if verifier.screen(tree).kind is not VerdictKind.REFUTED]
    assert len(survivors) <= len(mutants) // 4, survivors
    unnoticed = [
        lost
        for lost, tree in mutants
        if lost in survivors and verifier.certify(tree, seconds=4.0).kind is not VerdictKind.REFUTED
    ]
    assert not unnoticed
