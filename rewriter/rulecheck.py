"""Checks of one rule document: everything that has to hold before a rule is stable.

The document is its own test. Each *before* becomes its *after*, each pair passes the verifier, each *leaves alone*
stays, and each pair that is *wrong without the precondition* is refuted, shown by its rows, and never made by the rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from rewriter.catalog import Catalog
from rewriter.engines import DuckDB
from rewriter.engines.base import Limits
from rewriter.errors import EngineError, RewriterError, UsageError
from rewriter.parse import parse, read_schema
from rewriter.records import Database, Row, TableRows, Value, VerdictKind
from rewriter.verify import Verifier
from rules.discovery import code
from rules.facts import Facts
from rules.rulefile import Pair, RuleDocument, Unchanged, Wrong

PAIR_SECONDS = 0.8
PATIENT_SECONDS = 10.0  # where the first time did not suffice, on a busy machine
WRONG_SECONDS = 5.0


@dataclass(frozen=True)
class Finding:
    """One check at one ``line`` of the document. ``message`` says what was wrong, or what has been seen to hold;
    ``script`` is a counterexample that anyone can run."""

    ok: bool
    check: str
    line: int
    message: str
    script: str | None = None


def check_rule(document: RuleDocument, hunter: DuckDB) -> Iterator[Finding]:
    """All findings on a document. ``hunter`` is an in-memory DuckDB. Raises TargetLost."""
    if not document.executable:
        yield Finding(True, "document", 1, "advice: there is nothing to run")
        return
    try:
        catalog = read_schema(document.schema, document.dialects[0])
    except RewriterError as error:
        yield Finding(False, "schema", 1, error.message)
        return
    if document.equivalence == "conditional" and not document.wrong:
        yield Finding(False, "document", 1, "the section 'Wrong without the precondition' is missing")
    for pair in document.rewrites:
        yield from _guarded("rewrites", pair.line, _rewrite(document, catalog, pair, hunter))
    for case in document.leaves_alone:
        yield from _guarded("leaves alone", case.line, _left_alone(document, catalog, case))
    for wrong in document.wrong:
        yield from _guarded("wrong", wrong.line, _wrong(document, catalog, wrong, hunter))


def _guarded(check: str, line: int, findings: Iterator[Finding]) -> Iterator[Finding]:
    """The findings; trouble with the document's own SQL is one more of them."""
    try:
        yield from findings
    except EngineError as error:
        yield Finding(False, check, line, f"an engine refused it: {error.message}")
    except RewriterError as error:
        yield Finding(False, check, line, error.message)


def made(document: RuleDocument, catalog: Catalog, sql: str) -> list[str]:
    """What the rule makes of ``sql``, qualified anew, so that spelling does not count."""
    query = parse(sql, catalog)
    return [
        parse(tree.sql(dialect=query.dialect), catalog).sql() for tree in code(document)(query.tree, Facts(catalog))
    ]


def _rewrite(document: RuleDocument, catalog: Catalog, pair: Pair, hunter: DuckDB) -> Iterator[Finding]:
    query, after = parse(pair.before, catalog), parse(pair.after, catalog)
    before = query.sql()
    results = list(code(document)(query.tree, Facts(catalog)))
    if query.sql() != before or any(result is query.tree for result in results):
        yield Finding(False, "rewrites", pair.line, "the rule changes the query that it is given")
    texts = [parse(tree.sql(dialect=query.dialect), catalog).sql() for tree in results]
    if after.sql() in texts:
        yield Finding(True, "rewrites", pair.line, "the before becomes its after")
    elif texts:
        yield Finding(False, "rewrites", pair.line, f"the rule makes something else of it: {texts[0]}")
    else:
        yield Finding(False, "rewrites", pair.line, "the rule leaves it alone")
    verifier = Verifier(query, hunter)
    verdict = verifier.certify(after.tree, seconds=PAIR_SECONDS)
    if verdict.kind is VerdictKind.UNKNOWN:
        verdict = verifier.certify(after.tree, seconds=PATIENT_SECONDS)
    script = verdict.counterexample.scripts.get("duckdb") if verdict.counterexample is not None else None
    empty = verdict.kind is VerdictKind.TESTED and (verdict.adequacy is None or not verdict.adequacy.non_empty)
    message = "tested on empty results only" if empty else f"{verdict.kind.value}: {verdict.reason}"
    yield Finding(verdict.kind.accepts and not empty, "equivalent", pair.line, message, script)


def _left_alone(document: RuleDocument, catalog: Catalog, case: Unchanged) -> Iterator[Finding]:
    results = made(document, catalog, case.sql)
    message = f"the rule rewrites it: {results[0]}" if results else case.reason
    yield Finding(not results, "leaves alone", case.line, message)


def _wrong(document: RuleDocument, catalog: Catalog, case: Wrong, hunter: DuckDB) -> Iterator[Finding]:
    query, wrong = parse(case.before, catalog), parse(case.after, catalog)
    results = made(document, catalog, case.before)
    never = wrong.sql() not in results
    yield Finding(never, "wrong", case.line, "the rule never makes it" if never else "the rule makes this wrong pair")
    verdict = Verifier(query, hunter).certify(wrong.tree, seconds=WRONG_SECONDS)
    refuted = verdict.kind is VerdictKind.REFUTED
    yield Finding(refuted, "refuted", case.line, verdict.reason if refuted else "the verifier sees no difference")
    yield _shown(catalog, case, hunter)


def _shown(catalog: Catalog, case: Wrong, hunter: DuckDB) -> Finding:
    """Whether the rows given show the difference. Foreign keys between them are not the point there."""
    free = replace(catalog, tables=tuple(replace(table, foreign_keys=()) for table in catalog.tables))
    query, wrong = parse(case.before, catalog), parse(case.after, catalog)
    (outcomes,) = hunter.run_on(free, [_rows(case, free)], [query.tree, wrong.tree], Limits(seconds=10.0))
    answers = []
    for outcome in outcomes:
        if isinstance(outcome, EngineError):
            return Finding(False, "rows", case.line, f"an engine refused it: {outcome.message}")
        answers.append(sorted(map(repr, outcome.rows)))
    differ = answers[0] != answers[1]
    message = "the rows show the difference" if differ else "both queries return the same on the rows given"
    return Finding(differ, "rows", case.line, message)


def _rows(case: Wrong, catalog: Catalog) -> Database:
    """The INSERT statements of a case as a database. Raises UsageError for anything else."""
    found: dict[str, tuple[tuple[str, ...], list[Row]]] = {}
    try:
        statements = sqlglot.parse(case.rows, read=catalog.dialect)
    except SqlglotError:
        statements = []
    for statement in statements:
        target = statement.this if isinstance(statement, exp.Insert) else None
        values = statement.expression if isinstance(statement, exp.Insert) else None
        columns = target.expressions if isinstance(target, exp.Schema) else None
        name = target.this if isinstance(target, exp.Schema) else target
        table = catalog.find(name.name) if isinstance(name, exp.Table) else None
        if table is None or not isinstance(values, exp.Values):
            raise UsageError("the rows must be INSERT INTO table VALUES (...) statements over the schema's tables")
        names = tuple(column.name for column in columns or table.columns)
        _, rows = found.setdefault(table.name, (names, []))
        rows.extend(tuple(_value(value) for value in row.expressions) for row in values.expressions)
    return Database(tuple(TableRows(name, names, tuple(rows)) for name, (names, rows) in found.items()))


def _value(node: exp.Expr) -> Value:
    """A literal as a value; dates and the like stay text, which the engine reads as the column's type."""
    if isinstance(node, exp.Null):
        return None
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    if isinstance(node, exp.Neg):
        return -_value(node.this)
    if isinstance(node, (exp.Cast, exp.Paren)):
        return _value(node.this)
    if isinstance(node, exp.Literal):
        if node.is_string:
            return node.name
        return Decimal(node.name) if "." in node.name else int(node.name)
    raise UsageError(f"the rows must be literals, and {node.sql()!r} is none")
