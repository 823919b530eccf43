"""Every executable rule on variations of its own cases: what it makes of them never differs.

``REWRITER_SOUNDNESS=2000 make soundness`` asks for that many combinations of query and database for each rule.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlglot import exp

from rewriter.engines import DuckDB, scratch
from rewriter.parse import parse, read_schema
from rewriter.records import VerdictKind
from rewriter.soundness import variation, verdicts
from rules.discovery import discover
from rules.rulefile import RuleDocument, parse_rule

WANTED = int(os.environ.get("REWRITER_SOUNDNESS", "192"))  # combinations of query and database for each rule
A_POOL = 32  # databases that a screening tries
VARIATIONS = WANTED // A_POOL  # on which the rule fires
DRAWS = 6 * VARIATIONS  # variations tried; many leave the rule nothing to do
EXECUTABLE = [document for document in discover() if document.executable]


Draw = Callable[[st.SearchStrategy[int]], int]


@dataclass(frozen=True)
class Drawn:
    """Choices by index from hypothesis, so that a failing variation shrinks towards the original."""

    draw: Draw

    def number(self, below: int) -> int:
        return self.draw(st.integers(0, below - 1)) if below > 1 else 0

    def one(self, items: list[exp.Expr]) -> exp.Expr | None:
        return items[self.number(len(items))] if items else None


@dataclass
class Count:
    wanted: int  # variations on which the rule fires
    fired: int = 0
    databases: int = 0
    failed: bool = False


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDB]:
    # The parser raises the recursion limit when it is first used, which hypothesis takes amiss inside a test.
    parse("SELECT 1 AS x", read_schema("CREATE TABLE t (a int)", "postgres"))
    with contextlib.closing(scratch()) as hunter:
        yield hunter


@pytest.mark.slow
@pytest.mark.parametrize("document", EXECUTABLE, ids=lambda document: document.name)
def test_what_a_rule_makes_never_differs(document: RuleDocument, engine: DuckDB) -> None:
    count = _hammered(document, engine)
    assert count.fired or document.not_exercised, f"{document.name} never fired on a variation of its own cases"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("predicate/coalesce_other_value", "- in a filter"),
        ("aggregate/count_column_to_count_rows", "- `@value` is not nullable"),
    ],
)
def test_a_rule_that_lost_its_condition_is_found_out(name: str, lost: str, engine: DuckDB) -> None:
    (document,) = [document for document in EXECUTABLE if document.name == name]
    assert lost in document.text
    with pytest.raises(AssertionError, match="unsound"):
        _hammered(parse_rule(document.text.replace(lost, ""), document.path), engine, 6 * VARIATIONS)


def _hammered(document: RuleDocument, engine: DuckDB, variations: int = VARIATIONS) -> Count:
    count = Count(variations)

    @settings(
        max_examples=DRAWS * variations // VARIATIONS,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(st.data())
    def property_holds(data: st.DataObject) -> None:
        _one(document, engine, Drawn(data.draw), count)

    property_holds()
    return count


def _one(document: RuleDocument, engine: DuckDB, choose: Drawn, count: Count) -> None:
    found = variation(document, choose)  # drawn in any case: hypothesis wants the same draws each time
    if found is None or (count.fired >= count.wanted and not count.failed):
        return  # enough; a failure is looked at until it is as small as it gets
    count.fired += 1
    for tree, verdict in verdicts(found, engine):
        query = found.query
        count.databases += verdict.adequacy.databases if verdict.adequacy is not None else 0
        script = verdict.counterexample.scripts.get("duckdb", "") if verdict.counterexample is not None else ""
        count.failed = count.failed or verdict.kind is VerdictKind.REFUTED
        assert verdict.kind is not VerdictKind.REFUTED, (
            f"{document.name} is unsound: {verdict.reason}\n-- original\n{query.sql(pretty=True)}\n-- rewritten\n"
            f"{tree.sql(dialect=query.dialect, pretty=True)}\n{script}"
        )
