"""All databases of a few rows at once: what is found, what is not, and that nothing is claimed too much."""

from __future__ import annotations

import time

import pytest

from rewriter.catalog import Catalog
from rewriter.engines import DuckDB
from rewriter.parse import parse, read_schema
from rewriter.records import Database, VerdictKind
from rewriter.verify import Verifier, ladder, tested
from rewriter.verify.bounded import Search, search
from rewriter.verify.mutants import mutants
from rewriter.verify.solving import process
from rules.discovery import discover
from rules.facts import Facts
from rules.rulefile import RuleDocument, Wrong
from tests.shop_pairs import DIFFERENT, EQUIVALENT

pytestmark = pytest.mark.slow  # searches take seconds each

SECONDS = 20.0

NOT_SEEN = {
    "addition of doubles is not associative": "rounding is nothing that a formula over rational numbers shows",
    "order lost": "not the same sort keys",
    "another limit": "found",
    "volatile": "not expressible",
}


def searched(catalog: Catalog, one: str, two: str, seconds: float = SECONDS) -> Search:
    return search(parse(one, catalog).stated, parse(two, catalog).stated, catalog, seconds)


def differs(hunter: DuckDB, catalog: Catalog, one: str, two: str, database: Database) -> bool:
    """Whether a real engine shows a difference."""
    candidate = parse(two, catalog).stated
    bench = tested.Tester(parse(one, catalog), hunter, None, seed=0, by_position=True).bench(hunter, candidate)
    return bench.first_difference([database], candidate) is not None


@pytest.mark.parametrize(("one", "two"), EQUIVALENT.values(), ids=EQUIVALENT)
def test_finds_no_difference_where_there_is_none(shop: Catalog, one: str, two: str) -> None:
    found = searched(shop, one, two)
    assert not found.databases
    assert found.rows >= 2, found.stopped


@pytest.mark.parametrize(
    ("one", "two"),
    [pytest.param(*pair, id=name) for name, pair in DIFFERENT.items() if name not in NOT_SEEN],
)
def test_finds_the_difference(shop: Catalog, hunter: DuckDB, one: str, two: str) -> None:
    found = searched(shop, one, two)
    assert found.rows == 0
    assert any(differs(hunter, shop, one, two, database) for database in found.databases)


@pytest.mark.parametrize("name", NOT_SEEN)
def test_claims_nothing_where_it_does_not_see(shop: Catalog, name: str) -> None:
    assert searched(shop, *DIFFERENT[name]).rows == 0


def test_a_limit_that_cuts_is_searched(shop: Catalog, hunter: DuckDB) -> None:
    one, two = DIFFERENT["another limit"]
    found = searched(shop, one, two)
    assert any(differs(hunter, shop, one, two, database) for database in found.databases)
    same = "SELECT id FROM (SELECT id FROM customer) AS c ORDER BY id LIMIT 2"
    assert searched(shop, one, same).rows > 2


def test_a_limit_says_nothing_where_it_cuts_among_ties_or_never_cuts(shop: Catalog) -> None:
    ties = "SELECT city, id FROM customer ORDER BY city LIMIT 1"
    assert searched(shop, ties, ties.replace("FROM customer", "FROM (SELECT * FROM customer) AS c")).rows == 0
    one = "SELECT id FROM customer ORDER BY id LIMIT 100"
    assert searched(shop, one, one.replace("100", "200")).rows == 0


@pytest.mark.parametrize(
    "sql",
    [one for name, (one, _) in EQUIVALENT.items() if "CTE" not in name],
    ids=[n for n in EQUIVALENT if "CTE" not in n],
)
def test_what_a_search_says_of_mutants_holds_on_databases(shop: Catalog, hunter: DuckDB, sql: str) -> None:
    query = parse(sql, shop)
    tester = tested.Tester(query, hunter, None, seed=3, by_position=True)
    for mutant in mutants(query.tree, Facts(shop), most=4):
        found = search(query.tree, mutant.tree, shop, 3.0)
        verdict = tester.screen(mutant.tree, time.monotonic() + 5.0)
        if verdict.counterexample is not None:
            most = max(len(table.rows) for table in verdict.counterexample.database.tables)
            assert found.rows < most, mutant.fault


WRONG = [(document, case) for document in discover() for case in document.wrong]


@pytest.mark.parametrize(("document", "case"), WRONG, ids=[document.name for document, _ in WRONG])
def test_no_wrong_pair_of_the_catalogue_is_called_equal(document: RuleDocument, case: Wrong) -> None:
    catalog = read_schema(document.schema, document.dialects[0] if document.dialects else "postgres")
    one, two = (parse(sql, catalog).stated for sql in (case.before, case.after))
    assert search(one, two, catalog, 3.0).rows < ladder.LEAST_BOUND


def test_a_certificate_says_how_far(shop: Catalog, hunter: DuckDB, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "PROOF_SECONDS", 0.0)  # no time for a proof
    one, two = EQUIVALENT["self-join by the key"]
    verdict = Verifier(parse(one, shop), hunter).certify(parse(two, shop).tree)
    assert verdict.kind is VerdictKind.BOUNDED
    assert verdict.bound is not None
    assert verdict.bound >= 2
    assert verdict.adequacy is not None
    assert verdict.adequacy.databases > 0


def test_a_found_difference_counts_once_an_engine_shows_it(shop: Catalog, hunter: DuckDB) -> None:
    one = "SELECT id FROM customer WHERE credit * 3 = 271.11 AND name = 'x'"
    verdict = Verifier(parse(one, shop), hunter).certify(parse(one.replace("'x'", "'x' AND city IS NULL"), shop).tree)
    assert verdict.kind is VerdictKind.REFUTED
    assert verdict.counterexample is not None
    assert verdict.counterexample.database.size == 1


def test_a_fault_in_a_search_claims_nothing(shop: Catalog, capfd: pytest.CaptureFixture[str]) -> None:
    one = parse("SELECT id FROM customer", shop).stated
    found = process.search(one, one, "no catalog", 5.0)  # type: ignore[arg-type]
    assert found.rows == 0
    assert "failed" in found.stopped
    assert "Traceback" not in capfd.readouterr().err


def test_nothing_is_claimed_of_a_query_that_few_rows_never_satisfy(shop: Catalog) -> None:
    one = "SELECT customer_id FROM orders GROUP BY customer_id HAVING COUNT(*) > 9"
    assert searched(shop, one, one.replace("> 9", "> 10")).rows == 0
