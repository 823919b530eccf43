"""Generated uses of a rule: random schemas that promise what its conditions ask for, and nothing more."""

from __future__ import annotations

import pytest
from sqlglot import exp

from rewriter.distill.checks import hypothesis_of
from rewriter.distill.instances import instances, pattern_of
from rewriter.distill.records import Hypothesis, Variable
from rules.discovery import discover
from rules.facts import Facts
from rules.rulefile import RuleDocument

COLUMN = exp.column("a", "t")
REFERENCE = Hypothesis(
    "EXISTS(SELECT 1 FROM @t1 AS @r1 WHERE @r1.@c1 = @x1)",
    "@x1 IS NOT NULL",
    {
        "t1": Variable("t1", "table"),
        "r1": Variable("r1", "relation", table="t1"),
        "c1": Variable("c1", "column", COLUMN, "INT", relations=("r1",)),
        "x1": Variable("x1", "expression", COLUMN, "INT"),
    },
    "condition",
    "postgres",
    conditions=("`@x1` refers to `@r1.@c1`",),
)
PATTERNS = [document for document in discover() if document.pattern is not None]


def test_a_schema_promises_what_is_asked_for_and_nothing_more() -> None:
    found = list(instances(REFERENCE, 12, seed=3))
    assert len(found) == 12
    assert len({use.schema for use in found}) >= 10
    for use in found:
        catalog = use.query.catalog
        assert sum(len(table.foreign_keys) for table in catalog.tables) == 1
        assert not any(table.primary_key for table in catalog.tables)
        assert all(column.nullable for table in catalog.tables for column in table.columns)


def test_uses_that_break_a_condition_break_it() -> None:
    condition = "in a filter"
    hypothesis = Hypothesis(
        "COALESCE(@x1, @x2) = @x3",
        "@x1 = @x3",
        {
            "x1": Variable("x1", "expression", COLUMN, "INT"),
            "x2": Variable("x2", "constant", exp.Literal.number(0), "INT"),
            "x3": Variable("x3", "constant", exp.Literal.number(1), "INT"),
        },
        "condition",
        "postgres",
        conditions=("`@x2` differs from `@x3`",),
    )
    found = list(instances(hypothesis, 8, seed=1, violating=(condition,)))
    assert found
    only = pattern_of(hypothesis, only=condition)
    for use in found:
        assert not list(only.rewrites(use.query.tree, Facts(use.query.catalog)))


@pytest.mark.parametrize("document", PATTERNS, ids=lambda document: document.name)
def test_every_pattern_of_the_catalogue_can_be_used(document: RuleDocument) -> None:
    assert document.pattern is not None
    hypotheses = [hypothesis_of(document, template) for template in document.pattern.templates]
    assert any(hypotheses)
    for hypothesis in hypotheses:
        if hypothesis is not None:
            assert list(instances(hypothesis, 2, seed=5, tries=40)) or document.name == "predicate/or_equality_to_in"
