"""Every rule document is its own test: see CONTRIBUTING.md and ``rewriter/rulecheck.py``."""

from __future__ import annotations

import pytest

from rewriter.engines import DuckDB
from rewriter.rulecheck import check_rule
from rules.discovery import discover
from rules.rulefile import RuleDocument

DOCUMENTS = discover()


def named(document: RuleDocument) -> str:
    return document.name


def test_the_catalogue_is_as_large_as_promised() -> None:
    assert len(DOCUMENTS) >= 60
    assert sum(document.executable for document in DOCUMENTS) >= 45
    assert sum(document.pattern is not None for document in DOCUMENTS) >= 15


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_a_rule_passes_its_own_checks(document: RuleDocument, hunter: DuckDB) -> None:
    failed = [finding for finding in check_rule(document, hunter) if not finding.ok]
    assert not failed, "\n".join(f"{document.path.name}:{it.line}: {it.check}: {it.message}" for it in failed)


def test_no_rule_names_a_benchmark() -> None:
    words = ("tpcds", "tpch", "store_sales", "catalog_sales", "web_sales", "date_dim", "lineitem", "partsupp")
    for document in DOCUMENTS:
        code = document.path.with_suffix(".py")
        source = code.read_text(encoding="utf-8").lower() if code.is_file() else ""
        assert not [word for word in words if word in source], document.name
