"""Proofs: what is proved, what must not be, and that a proof never meets a database that contradicts it."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from sqlglot import exp

from rewriter.catalog import Catalog
from rewriter.engines import DuckDB
from rewriter.parse import parse, read_schema
from rewriter.records import VerdictKind
from rewriter.verify import Verifier, tested
from rewriter.verify.algebra import Proof, process, prove
from rewriter.verify.algebra.substitution import refreshed
from rewriter.verify.algebra.terms import all_variables
from rewriter.verify.algebra.translate import Translator
from rewriter.verify.mutants import mutants
from rules.discovery import discover
from rules.facts import Facts
from rules.rulefile import RuleDocument, Wrong

PROVED = {
    "join on a foreign key that is not null": (
        "SELECT o.id FROM orders o JOIN customer c ON c.id = o.customer_id",
        "SELECT id FROM orders",
    ),
    "join on a foreign key that may be null": (
        "SELECT o.id FROM orders o JOIN customer c ON c.id = o.referrer_id",
        "SELECT id FROM orders WHERE referrer_id IS NOT NULL",
    ),
    "left join by a key that nobody reads": (
        "SELECT o.id FROM orders o LEFT JOIN customer c ON c.id = o.referrer_id",
        "SELECT id FROM orders",
    ),
    "left join with a filter that rejects NULL": (
        "SELECT o.id, c.city FROM orders o LEFT JOIN customer c ON c.id = o.referrer_id WHERE c.credit > 1",
        "SELECT o.id, c.city FROM orders o JOIN customer c ON c.id = o.referrer_id AND c.credit > 1",
    ),
    "self-join by the key": (
        "SELECT a.name, b.city FROM customer a JOIN customer b ON a.id = b.id",
        "SELECT name, city FROM customer",
    ),
    "semi-join as a join with DISTINCT": (
        "SELECT c.id FROM customer c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id)",
        "SELECT DISTINCT c.id FROM customer c JOIN orders o ON o.customer_id = c.id",
    ),
    "NOT IN over columns that are never NULL": (
        "SELECT id FROM customer WHERE id NOT IN (SELECT customer_id FROM orders)",
        "SELECT c.id FROM customer c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id)",
    ),
    "DISTINCT over a key": ("SELECT DISTINCT id, name FROM customer", "SELECT id, name FROM customer"),
    "OR as a union of disjoint branches": (
        "SELECT id FROM orders WHERE total > 10 OR status = 'open'",
        "SELECT id FROM orders WHERE total > 10 UNION ALL"
        " SELECT id FROM orders WHERE status = 'open' AND (total <= 10 OR total IS NULL)",
    ),
    "correlated aggregate as a join": (
        "SELECT o.id FROM orders o"
        " WHERE o.total > (SELECT MAX(p.price) FROM item p WHERE p.order_id = o.id)",
        "SELECT o.id FROM orders o JOIN (SELECT order_id, MAX(price) AS top FROM item GROUP BY order_id) m"
        " ON m.order_id = o.id WHERE o.total > m.top",
    ),
    "sum of partial sums": (
        "SELECT o.customer_id, SUM(i.price) AS s FROM orders o JOIN item i ON i.order_id = o.id GROUP BY o.customer_id",
        "SELECT o.customer_id, SUM(p.s) AS s FROM orders o"
        " JOIN (SELECT order_id, SUM(price) AS s FROM item GROUP BY order_id) p ON p.order_id = o.id"
        " GROUP BY o.customer_id",
    ),
    "HAVING on a key as WHERE": (
        "SELECT city, COUNT(*) FROM customer GROUP BY city HAVING city = 'Rome'",
        "SELECT city, COUNT(*) FROM customer WHERE city = 'Rome' GROUP BY city",
    ),
    "a check constraint decides a filter": ("SELECT id FROM orders", "SELECT id FROM orders WHERE status <> 'lost'"),
    "windowed total as a correlated one": (
        "SELECT id, SUM(total) OVER (PARTITION BY customer_id) AS s FROM orders",
        "SELECT o.id, (SELECT SUM(p.total) FROM orders p WHERE p.customer_id = o.customer_id) AS s FROM orders o",
    ),
    "INTERSECT as a semi-join": (
        "SELECT customer_id FROM orders INTERSECT SELECT id FROM customer WHERE city = 'Rome'",
        "SELECT DISTINCT customer_id FROM orders"
        " WHERE customer_id IN (SELECT id FROM customer WHERE city = 'Rome')",
    ),
    "a finer order": (
        "SELECT id, city FROM customer ORDER BY city",
        "SELECT id, city FROM customer ORDER BY city, id DESC",
    ),
    "tests for NULL": (
        "SELECT id FROM customer WHERE city IS NOT NULL AND name IS NULL",
        "SELECT id FROM customer WHERE city = city AND NOT (name IS NOT NULL)",
    ),
    "a CTE read twice": (
        "WITH big AS (SELECT * FROM orders WHERE total > 9) SELECT a.id FROM big a JOIN big b ON a.day = b.day",
        "SELECT a.id FROM orders a, orders b WHERE a.day = b.day AND a.total > 9 AND b.total > 9",
    ),
    "grouping sets as a union": (
        "SELECT city, COUNT(*) AS n FROM customer GROUP BY ROLLUP (city)",
        "SELECT city, COUNT(*) AS n FROM customer GROUP BY city UNION ALL SELECT NULL, COUNT(*) FROM customer",
    ),
}  # fmt: skip

NOT_PROVED = {
    "join on a foreign key that may be null": (
        "SELECT o.id FROM orders o JOIN customer c ON c.id = o.referrer_id",
        "SELECT id FROM orders",
    ),
    "NOT IN over a column that may be NULL": (
        "SELECT id FROM customer WHERE id NOT IN (SELECT referrer_id FROM orders)",
        "SELECT c.id FROM customer c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.referrer_id = c.id)",
    ),
    "DISTINCT over a UNIQUE column that may be NULL": (
        "SELECT DISTINCT mail FROM customer",
        "SELECT mail FROM customer",
    ),
    "self-join by a column that may be NULL": (
        "SELECT a.id FROM customer a JOIN customer b ON a.mail = b.mail",
        "SELECT id FROM customer",
    ),
    "semi-join as a join without DISTINCT": (
        "SELECT c.id FROM customer c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id)",
        "SELECT c.id FROM customer c JOIN orders o ON o.customer_id = c.id",
    ),
    "cross join as LEFT JOIN ON TRUE": (
        "SELECT c.id FROM customer c LEFT JOIN visit v ON TRUE",
        "SELECT c.id FROM customer c CROSS JOIN visit v",
    ),
    "COUNT over no rows": (
        "SELECT COUNT(*) FROM visit",
        "SELECT COUNT(*) FROM visit GROUP BY 1 = 1",
    ),
    "overlapping branches": (
        "SELECT id FROM orders WHERE total > 10 OR total > 20",
        "SELECT id FROM orders WHERE total > 10 UNION ALL SELECT id FROM orders WHERE total > 20",
    ),
    "addition of doubles is not associative": (
        "SELECT (v.seconds + w.seconds) + x.seconds FROM visit v, visit w, visit x",
        "SELECT v.seconds + (w.seconds + x.seconds) FROM visit v, visit w, visit x",
    ),
    "count of a column that may be NULL": ("SELECT COUNT(city) FROM customer", "SELECT COUNT(*) FROM customer"),
    "an average of averages": (
        "SELECT AVG(total) FROM orders",
        "SELECT AVG(m) FROM (SELECT AVG(total) AS m FROM orders GROUP BY customer_id) t",
    ),
    "order lost": ("SELECT id FROM customer ORDER BY city", "SELECT id FROM customer"),
    "another limit": (
        "SELECT id FROM customer ORDER BY id LIMIT 2",
        "SELECT id FROM customer ORDER BY id LIMIT 3",
    ),
    "INTERSECT as a join of nullable columns": (
        "SELECT referrer_id FROM orders INTERSECT SELECT customer_id FROM visit",
        "SELECT DISTINCT o.referrer_id FROM orders o JOIN visit v ON v.customer_id = o.referrer_id",
    ),
    "IS NOT NULL and IS NULL": (
        "SELECT id FROM customer WHERE city IS NOT NULL",
        "SELECT id FROM customer WHERE city IS NULL",
    ),
    "IS NOT TRUE and IS FALSE": (
        "SELECT id FROM customer WHERE (credit > 1) IS NOT TRUE",
        "SELECT id FROM customer WHERE (credit > 1) IS FALSE",
    ),
    "volatile": ("SELECT RANDOM() FROM customer", "SELECT RANDOM() FROM customer"),
}


def proved(shop: Catalog, one: str, two: str) -> Proof:
    return prove(parse(one, shop).stated, parse(two, shop).stated, shop)


@pytest.fixture(params=["duckdb", "postgres"])
def shop(request: pytest.FixtureRequest, shop: Catalog) -> Catalog:
    """The shop in both dialects: their parsers do not make the same trees of the same text."""
    return replace(shop, dialect=request.param)


@pytest.mark.parametrize(("one", "two"), PROVED.values(), ids=PROVED)
def test_proves(shop: Catalog, one: str, two: str) -> None:
    found = proved(shop, one, two)
    assert found.proved, found.reason
    assert proved(shop, two, one).proved or "ORDER BY" in one


@pytest.mark.parametrize(("one", "two"), NOT_PROVED.values(), ids=NOT_PROVED)
def test_does_not_prove(shop: Catalog, one: str, two: str) -> None:
    assert not proved(shop, one, two).proved
    assert not proved(shop, two, one).proved or "ORDER BY" in one


def test_names_the_constraints_that_it_used(shop: Catalog) -> None:
    one, two = PROVED["join on a foreign key that is not null"]
    assumptions = proved(shop, one, two).assumptions
    assert any("foreign key" in text and "orders(customer_id)" in text for text in assumptions)
    assert any("not NULL" in text for text in assumptions)


@pytest.mark.parametrize("sql", [sql for pair in PROVED.values() for sql in pair])
def test_new_variables_everywhere_and_none_left_dangling(shop: Catalog, sql: str) -> None:
    bag = Translator(shop).query(parse(sql, shop).stated).bag
    copy = refreshed(bag)
    assert not bag.free
    assert not copy.free
    mine, theirs = ({v.id for term in b.terms for v in all_variables(term)} for b in (bag, copy))
    assert not mine & theirs


@pytest.mark.parametrize("sql", [one for one, _ in PROVED.values()], ids=PROVED)
def test_no_database_contradicts_a_proof_about_a_mutant(shop: Catalog, hunter: DuckDB, sql: str) -> None:
    query = parse(sql, shop)
    tester = tested.Tester(query, hunter, None, seed=3, by_position=True)
    for mutant in mutants(query.tree, Facts(shop), most=20):
        if prove(query.tree, mutant.tree, shop).proved:
            verdict = tester.screen(mutant.tree, time.monotonic() + 5.0)
            assert verdict.kind is not VerdictKind.REFUTED, mutant.fault


WRONG = [(document, case) for document in discover() for case in document.wrong]


@pytest.mark.parametrize(("document", "case"), WRONG, ids=[document.name for document, _ in WRONG])
def test_no_wrong_pair_of_the_catalogue_is_proved(document: RuleDocument, case: Wrong) -> None:
    catalog = read_schema(document.schema, document.dialects[0] if document.dialects else "postgres")
    one, two = (parse(sql, catalog) for sql in (case.before, case.after))
    assert not prove(one.stated, two.stated, catalog).proved


def test_postgres_char_values_are_equal_and_not_the_same() -> None:
    catalog = read_schema("CREATE TABLE t (a CHAR(3), b CHAR(5)); CREATE TABLE u (a CHAR(3))", "postgres")
    one, two = "SELECT a FROM t WHERE a = b", "SELECT b FROM t WHERE a = b"
    assert not prove(parse(one, catalog).stated, parse(two, catalog).stated, catalog).proved
    padded = "SELECT a FROM t WHERE a = 'x' AND a = 'x '"
    assert not prove(
        parse(padded, catalog).stated, parse("SELECT a FROM t WHERE FALSE", catalog).stated, catalog
    ).proved


def test_what_is_proved_is_the_text_and_not_the_tree(shop: Catalog) -> None:
    """sqlglot writes (a EXCEPT b) INTERSECT c without brackets, which is a EXCEPT (b INTERSECT c)."""
    parts = [exp.select("id").from_("customer").where(f"id = {n}") for n in (1, 2, 3)]
    tree = exp.Intersect(
        this=exp.Except(this=parts[0], expression=parts[1], distinct=True), expression=parts[2], distinct=True
    )
    empty = parse("SELECT id FROM customer WHERE FALSE", shop).stated
    written = parse("SELECT id FROM customer WHERE id = 1", shop).stated
    assert not prove(empty, tree, shop).proved
    assert prove(written, tree, shop).proved


def test_a_certificate_holds_the_proof(shop: Catalog, hunter: DuckDB) -> None:
    one, two = PROVED["left join by a key that nobody reads"]
    verdict = Verifier(parse(one, shop), hunter).certify(parse(two, shop).tree)
    assert verdict.kind is VerdictKind.PROVED
    assert verdict.method == "algebra"
    assert verdict.proof
    assert verdict.assumptions
    assert verdict.confirmed_on


def test_what_is_proved_still_has_to_have_the_columns_names(shop: Catalog, hunter: DuckDB) -> None:
    query = parse("SELECT id AS number FROM customer", shop)
    verdict = Verifier(query, hunter).certify(parse("SELECT id AS other FROM customer", shop).tree)
    assert verdict.kind is VerdictKind.REFUTED


def test_a_fault_in_a_proof_proves_nothing_and_shows_no_traceback(
    shop: Catalog, capfd: pytest.CaptureFixture[str]
) -> None:
    one = parse("SELECT id FROM customer", shop).stated
    found = process.proof(one, one, "no catalog", 5.0)  # type: ignore[arg-type]
    assert not found.proved
    assert "failed" in found.reason
    assert "Traceback" not in capfd.readouterr().err


def test_a_child_that_dies_or_overstays_proves_nothing_and_is_replaced(
    shop: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (parse(sql, shop).stated for sql in PROVED["DISTINCT over a key"])
    assert process.proof(one, two, shop, 5.0).proved
    for child in process._idle:
        child._child.kill()
    assert not process.proof(one, two, shop, 5.0).proved
    assert process.proof(one, two, shop, 5.0).proved
    monkeypatch.setattr(process, "GRACE_SECONDS", -6.0)
    assert not process.proof(one, two, shop, 5.0).proved
