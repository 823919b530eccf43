"""Every rule document is its own test: see CONTRIBUTING.md."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rewriter.engines import DuckDB
from rewriter.parse import parse, read_schema
from rewriter.records import VerdictKind
from rewriter.verify import Verifier
from rules.discovery import code, discover
from rules.facts import Facts
from rules.rulefile import RuleDocument

DOCUMENTS = discover()
EXECUTABLE = [document for document in DOCUMENTS if document.executable]


def named(document: RuleDocument) -> str:
    return document.name


def texts(document: RuleDocument, sql: str) -> Iterator[str]:
    """What the rule makes of ``sql``, qualified anew, so that spelling does not count."""
    catalog = read_schema(document.schema, document.dialects[0])
    query = parse(sql, catalog)
    for tree in code(document)(query.tree, Facts(catalog)):
        yield parse(tree.sql(dialect=query.dialect), catalog).sql()


def test_the_catalogue_is_found() -> None:
    assert len(EXECUTABLE) >= 10


@pytest.mark.parametrize("document", EXECUTABLE, ids=named)
def test_each_before_becomes_its_after(document: RuleDocument) -> None:
    catalog = read_schema(document.schema, document.dialects[0])
    for pair in document.rewrites:
        expected = parse(pair.after, catalog).sql()
        assert expected in list(texts(document, pair.before)), f"{document.path.name}:{pair.line}"


@pytest.mark.parametrize("document", EXECUTABLE, ids=named)
def test_leaves_alone_what_it_says(document: RuleDocument) -> None:
    for case in document.leaves_alone:
        assert not list(texts(document, case.sql)), f"{document.path.name}:{case.line}: {case.reason}"


@pytest.mark.parametrize("document", EXECUTABLE, ids=named)
def test_the_input_is_not_mutated_and_results_are_fresh(document: RuleDocument) -> None:
    catalog = read_schema(document.schema, document.dialects[0])
    for pair in document.rewrites:
        query = parse(pair.before, catalog)
        before = query.sql()
        results = list(code(document)(query.tree, Facts(catalog)))
        assert query.sql() == before
        assert all(result is not query.tree for result in results)


@pytest.mark.parametrize("document", EXECUTABLE, ids=named)
def test_each_pair_passes_the_verifier(document: RuleDocument, hunter: DuckDB) -> None:
    catalog = read_schema(document.schema, document.dialects[0])
    for pair in document.rewrites:
        query = parse(pair.before, catalog)
        verifier, after = Verifier(query, hunter), parse(pair.after, catalog).tree
        verdict = verifier.certify(after, seconds=0.8)
        if verdict.kind is VerdictKind.UNKNOWN:  # on a busy machine the time may not have sufficed
            verdict = verifier.certify(after, seconds=10.0)
        assert verdict.kind.accepts, f"{document.path.name}:{pair.line}: {verdict.reason}"
        assert verdict.adequacy is not None
        assert verdict.adequacy.non_empty > 0, f"{document.path.name}:{pair.line}: tested on empty results only"


@pytest.mark.parametrize("document", [entry for entry in EXECUTABLE if entry.wrong], ids=named)
def test_the_wrong_pair_is_refuted_and_never_made(document: RuleDocument, hunter: DuckDB) -> None:
    catalog = read_schema(document.schema, document.dialects[0])
    for case in document.wrong:
        query, wrong = parse(case.before, catalog), parse(case.after, catalog)
        verdict = Verifier(query, hunter).certify(wrong.tree, seconds=3.0)
        assert verdict.kind is VerdictKind.REFUTED, f"{document.path.name}:{case.line}: {verdict.reason}"
        assert wrong.sql() not in list(texts(document, case.before))


@pytest.mark.parametrize("document", [entry for entry in EXECUTABLE if entry.wrong], ids=named)
def test_the_rows_given_for_the_wrong_pair_show_the_difference(document: RuleDocument) -> None:
    import duckdb

    for case in document.wrong:
        with duckdb.connect(":memory:") as connection:
            # The rows stand for themselves: foreign keys between them are not the point.
            connection.execute(
                document.schema.replace("REFERENCES orders (id)", "").replace("REFERENCES customer (id)", "")
            )
            connection.execute(case.rows)
            before = sorted(map(repr, connection.execute(case.before).fetchall()))
            after = sorted(map(repr, connection.execute(case.after).fetchall()))
        assert before != after, f"{document.path.name}:{case.line}"


def test_no_rule_names_a_benchmark() -> None:
    words = ("tpcds", "tpch", "store_sales", "catalog_sales", "web_sales", "date_dim", "lineitem", "partsupp")
    for document in EXECUTABLE:
        source = document.path.with_suffix(".py").read_text(encoding="utf-8").lower()
        assert not [word for word in words if word in source], document.name
