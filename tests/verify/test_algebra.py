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
from rewriter.verify.algebra import Proof, prove
from rewriter.verify.mutants import mutants
from rewriter.verify.solving import process
from rewriter.verify.sums.substitution import refreshed
from rewriter.verify.sums.terms import all_variables
from rewriter.verify.sums.translate import Translator
from rules.discovery import discover
from rules.facts import Facts
from rules.rulefile import RuleDocument, Wrong
from tests.shop_pairs import DIFFERENT, EQUIVALENT


def proved(shop: Catalog, one: str, two: str) -> Proof:
    return prove(parse(one, shop).stated, parse(two, shop).stated, shop)


@pytest.fixture(params=["duckdb", "postgres"])
def shop(request: pytest.FixtureRequest, shop: Catalog) -> Catalog:
    """The shop in both dialects: their parsers do not make the same trees of the same text."""
    return replace(shop, dialect=request.param)


@pytest.mark.parametrize(("one", "two"), EQUIVALENT.values(), ids=EQUIVALENT)
def test_proves(shop: Catalog, one: str, two: str) -> None:
    found = proved(shop, one, two)
    assert found.proved, found.reason
    assert proved(shop, two, one).proved or "ORDER BY" in one


@pytest.mark.parametrize(("one", "two"), DIFFERENT.values(), ids=DIFFERENT)
def test_does_not_prove(shop: Catalog, one: str, two: str) -> None:
    assert not proved(shop, one, two).proved
    assert not proved(shop, two, one).proved or "ORDER BY" in one


def test_names_the_constraints_that_it_used(shop: Catalog) -> None:
    one, two = EQUIVALENT["join on a foreign key that is not null"]
    assumptions = proved(shop, one, two).assumptions
    assert any("foreign key" in text and "orders(customer_id)" in text for text in assumptions)
    assert any("not NULL" in text for text in assumptions)


@pytest.mark.parametrize("sql", [sql for pair in EQUIVALENT.values() for sql in pair])
def test_new_variables_everywhere_and_none_left_dangling(shop: Catalog, sql: str) -> None:
    bag = Translator(shop).query(parse(sql, shop).stated).bag
    copy = refreshed(bag)
    assert not bag.free
    assert not copy.free
    mine, theirs = ({v.id for term in b.terms for v in all_variables(term)} for b in (bag, copy))
    assert not mine & theirs


@pytest.mark.parametrize("sql", [one for one, _ in EQUIVALENT.values()], ids=EQUIVALENT)
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
    one, two = EQUIVALENT["left join by a key that nobody reads"]
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
    one, two = (parse(sql, shop).stated for sql in EQUIVALENT["DISTINCT over a key"])
    assert process.proof(one, two, shop, 5.0).proved
    for child in process._idle:
        child._child.kill()
    assert not process.proof(one, two, shop, 5.0).proved
    assert process.proof(one, two, shop, 5.0).proved
    monkeypatch.setattr(process, "GRACE_SECONDS", -6.0)
    assert not process.proof(one, two, shop, 5.0).proved
