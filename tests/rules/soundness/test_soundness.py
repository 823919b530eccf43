"""Every executable rule on variations of its own cases: what it makes of them never differs.

``REWRITER_SOUNDNESS=2000 make soundness`` asks for that many combinations of query and database for each rule.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlglot import exp

from rewriter.engines import DuckDB, scratch
from rewriter.errors import RewriterError
from rewriter.parse import parse, read_schema
from rewriter.records import VerdictKind
from rewriter.verify import Verifier
from rules.discovery import code, discover
from rules.facts import Facts
from rules.rulefile import RuleDocument, parse_rule
from tests.rules.soundness.variations import Chooser, keys_kept, loosened, varied

WANTED = int(os.environ.get("REWRITER_SOUNDNESS", "192"))  # combinations of query and database for each rule
A_POOL = 32  # databases that a screening tries
VARIATIONS = WANTED // A_POOL  # on which the rule fires
DRAWS = 6 * VARIATIONS  # variations tried; many leave the rule nothing to do
RESULTS = 3  # results of a rule that are looked at for one variation
EXECUTABLE = [document for document in discover() if document.executable]


@dataclass
class Count:
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
        _hammered(parse_rule(document.text.replace(lost, ""), document.path), engine)


def _hammered(document: RuleDocument, engine: DuckDB) -> Count:
    count = Count()
    texts = [pair.before for pair in document.rewrites]
    texts += [case.sql for case in document.leaves_alone] + [case.before for case in document.wrong]

    @settings(
        max_examples=DRAWS,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(st.data())
    def property_holds(data: st.DataObject) -> None:
        _one(document, engine, texts, Chooser(data.draw), count)

    property_holds()
    return count


def _one(document: RuleDocument, engine: DuckDB, texts: list[str], choose: Chooser, count: Count) -> None:
    stated = read_schema(document.schema, document.dialects[0])
    catalog = keys_kept(stated, loosened(stated, choose))
    try:
        base = parse(texts[choose.number(len(texts))], catalog)
        query = parse(varied(base.tree, choose).sql(dialect=base.dialect), catalog)
    except (RewriterError, ValueError):
        return  # the variation is no query
    if _mixed(query.tree, Facts(catalog)):
        return
    if count.fired >= VARIATIONS and not count.failed:
        return  # enough; a failure is looked at until it is as small as it gets
    results = list(code(document)(query.tree, Facts(catalog)))[:RESULTS]
    if not results or query.nondeterminism:
        return
    count.fired += 1
    verifier = Verifier(query, engine)
    for tree in results:
        verdict = verifier.screen(parse(tree.sql(dialect=query.dialect), catalog).tree)
        count.databases += verdict.adequacy.databases if verdict.adequacy is not None else 0
        script = verdict.counterexample.scripts.get("duckdb", "") if verdict.counterexample is not None else ""
        count.failed = count.failed or verdict.kind is VerdictKind.REFUTED
        assert verdict.kind is not VerdictKind.REFUTED, (
            f"{document.name} is unsound: {verdict.reason}\n-- original\n{query.sql(pretty=True)}\n-- rewritten\n"
            f"{tree.sql(dialect=query.dialect, pretty=True)}\n{script}"
        )


def _mixed(query: exp.Query, facts: Facts) -> bool:
    """Whether a text is compared with a number: an error in Postgres, and in DuckDB a conversion that fails or not
    depending on the rows that it is tried on, which the plan decides."""
    return any(
        {_kind(node.this, facts), _kind(node.expression, facts)} == {"text", "number"}
        for node in query.find_all(exp.Predicate)
        if isinstance(node, exp.Binary)
    )


def _kind(side: exp.Expr, facts: Facts) -> str:
    if isinstance(side, exp.Literal):
        return "text" if side.is_string else "number"
    type_ = facts.type(side) if isinstance(side, exp.Column) else None
    if type_ is None:
        return ""
    return (
        "text"
        if type_.this in exp.DataType.TEXT_TYPES
        else "number"
        if type_.this in exp.DataType.NUMERIC_TYPES
        else ""
    )
