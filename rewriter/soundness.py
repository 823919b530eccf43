"""Rules held against variations of their own cases: nearly the document's queries and schemas, and never quite.

The tests draw the variations from hypothesis, so that a failing one shrinks; the check of a new rule draws at random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from sqlglot import exp

from rewriter.catalog import Catalog, Table
from rewriter.engines import DuckDB
from rewriter.errors import RewriterError
from rewriter.parse import parse, read_schema
from rewriter.records import Query, Verdict
from rewriter.verify import Verifier
from rules.discovery import code
from rules.facts import Facts
from rules.rulefile import RuleDocument

RESULTS = 3  # results of a rule that are looked at for one variation

Change = Callable[[exp.Query, "Chooser"], bool]

_FLIPPED: dict[type[exp.Expr], type[exp.Binary]] = {
    exp.EQ: exp.GT,
    exp.GT: exp.LTE,
    exp.LT: exp.NEQ,
    exp.GTE: exp.EQ,
    exp.LTE: exp.EQ,
    exp.NEQ: exp.EQ,
}
_AGGREGATES = (exp.Sum, exp.Min, exp.Max, exp.Avg, exp.Count)
_JOINS = ("", "LEFT", "FULL", "RIGHT")
_SETS = (exp.Union, exp.Intersect, exp.Except)


class Chooser(Protocol):
    """Decides what a variation does."""

    def number(self, below: int) -> int: ...

    def one(self, items: list[exp.Expr]) -> exp.Expr | None: ...


@dataclass(frozen=True)
class AtRandom:
    """Choices of a seeded generator."""

    random: Random

    def number(self, below: int) -> int:
        return self.random.randrange(below) if below > 1 else 0

    def one(self, items: list[exp.Expr]) -> exp.Expr | None:
        return items[self.number(len(items))] if items else None


@dataclass(frozen=True, eq=False)
class Variation:
    """A query that a rule has something to say to, and what it makes of it."""

    query: Query
    results: tuple[exp.Query, ...]


def variation(document: RuleDocument, choose: Chooser) -> Variation | None:
    """One variation of a document's cases on which its rule fires; None for one that is no query, or leaves the rule
    nothing to do."""
    texts = [pair.before for pair in document.rewrites]
    texts += [case.sql for case in document.leaves_alone] + [case.before for case in document.wrong]
    stated = read_schema(document.schema, document.dialects[0])
    catalog = keys_kept(stated, loosened(stated, choose))
    try:
        base = parse(texts[choose.number(len(texts))], catalog)
        query = parse(varied(base.tree, choose).sql(dialect=base.dialect), catalog)
    except (RewriterError, ValueError):
        return None
    if query.nondeterminism or _mixed(query.tree, Facts(catalog)):
        return None
    results = list(code(document)(query.tree, Facts(catalog)))[:RESULTS]
    return Variation(query, tuple(results)) if results else None


def verdicts(found: Variation, hunter: DuckDB) -> Iterator[tuple[exp.Query, Verdict]]:
    """The screening of each result, as it would be read from its text."""
    verifier = Verifier(found.query, hunter)
    for tree in found.results:
        again = parse(tree.sql(dialect=found.query.dialect), found.query.catalog).tree
        yield tree, verifier.screen(again)


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
    if type_.this in exp.DataType.TEXT_TYPES:
        return "text"
    return "number" if type_.this in exp.DataType.NUMERIC_TYPES else ""


def loosened(catalog: Catalog, choose: Chooser) -> Catalog:
    """The catalog with some constraints dropped: all, some, or none."""
    if choose.number(2) == 0:
        return catalog
    return replace(catalog, tables=tuple(_loosened(table, choose) for table in catalog.tables))


def _loosened(table: Table, choose: Chooser) -> Table:
    kind = choose.number(4)
    if kind in (1, 3):
        key = set(table.primary_key) if kind == 1 else set()
        columns = tuple(replace(it, nullable=it.nullable or it.name not in key) for it in table.columns)
        table = replace(table, columns=columns)
    if kind in (2, 3):
        table = replace(table, primary_key=(), unique=())
    return table


def keys_kept(before: Catalog, after: Catalog) -> Catalog:
    """``after`` without the foreign keys whose parents have lost the key that they refer to."""
    tables = []
    for table in after.tables:
        kept = []
        for key in table.foreign_keys:
            parent = after.find(key.table, key.schema or table.schema)
            if parent is not None and tuple(key.referenced) in {tuple(parent.primary_key), *map(tuple, parent.unique)}:
                kept.append(key)
        tables.append(replace(table, foreign_keys=tuple(kept)))
    return replace(before, tables=tuple(tables))


def varied(query: exp.Query, choose: Chooser) -> exp.Query:
    """A copy with up to three changes; whether it is still a query that our parser takes is for the caller to see."""
    copy = query.copy()
    for _ in range(choose.number(4)):
        CHANGES[choose.number(len(CHANGES))](copy, choose)
    return copy


def _flip(query: exp.Query, choose: Chooser) -> bool:
    node = choose.one(list(query.find_all(*_FLIPPED)))
    if node is None:
        return False
    node.replace(_FLIPPED[type(node)](this=node.this, expression=node.expression))
    return True


def _literal(query: exp.Query, choose: Chooser) -> bool:
    node = choose.one([node for node in query.find_all(exp.Literal) if not node.is_string and node.name.isdigit()])
    if node is None:
        return False
    node.replace(exp.Literal.number(choose.number(4)))
    return True


def _drop(query: exp.Query, choose: Chooser) -> bool:
    node = choose.one(list(query.find_all(exp.And)))
    if node is None:
        return False
    node.replace(node.this if choose.number(2) else node.expression)
    return True


def _or(query: exp.Query, choose: Chooser) -> bool:
    node = choose.one(list(query.find_all(exp.And)))
    if node is None:
        return False
    node.replace(exp.Paren(this=exp.Or(this=node.this, expression=node.expression)))
    return True


def _negate(query: exp.Query, choose: Chooser) -> bool:
    node = choose.one(list(query.find_all(exp.EQ, exp.GT, exp.In, exp.Exists, exp.Is)))
    if node is None:
        return False
    node.replace(exp.Not(this=exp.Paren(this=node.copy())))
    return True


def _join(query: exp.Query, choose: Chooser) -> bool:
    node = choose.one([join for join in query.find_all(exp.Join) if join.args.get("on") is not None])
    if node is None:
        return False
    side = _JOINS[choose.number(len(_JOINS))]
    node.set("side", side or None)
    node.set("kind", None)
    return True


def _distinct(query: exp.Query, choose: Chooser) -> bool:
    node = choose.one(list(query.find_all(exp.Select)))
    if node is None:
        return False
    node.set("distinct", None if node.args.get("distinct") else exp.Distinct())
    return True


def _aggregate(query: exp.Query, choose: Chooser) -> bool:
    node = choose.one([node for node in query.find_all(*_AGGREGATES) if isinstance(node.this, exp.Column)])
    if node is None:
        return False
    kind = _AGGREGATES[choose.number(len(_AGGREGATES))]
    argument = node.this.copy()
    node.replace(kind(this=exp.Distinct(expressions=[argument]) if choose.number(3) == 2 else argument))
    return True


def _swap_column(query: exp.Query, choose: Chooser) -> bool:
    columns = [node for node in query.find_all(exp.Column) if node.table]
    node = choose.one(list(columns))
    if not isinstance(node, exp.Column):
        return False
    others = [other for other in columns if other.table == node.table and other.name != node.name]
    other = choose.one(list(others))
    if other is None:
        return False
    node.replace(other.copy())
    return True


def _set_operation(query: exp.Query, choose: Chooser) -> bool:
    node = choose.one(list(query.find_all(exp.SetOperation)))
    if not isinstance(node, exp.SetOperation):
        return False
    kind = _SETS[choose.number(len(_SETS))]
    distinct = kind is not exp.Union or choose.number(2) == 0
    made = kind(**{**node.args, "distinct": distinct})
    if node is query:
        return False
    node.replace(made)
    return True


def _null_safe(query: exp.Query, choose: Chooser) -> bool:
    node = choose.one([node for node in query.find_all(exp.Column) if node.table])
    if node is None or node.find_ancestor(exp.Group, exp.Order) is not None:
        return False
    node.replace(exp.Coalesce(this=node.copy(), expressions=[node.copy()]))
    return True


def _group_off(query: exp.Query, choose: Chooser) -> bool:
    node = choose.one([select for select in query.find_all(exp.Select) if select.args.get("group")])
    if node is None or len(node.args["group"].expressions) < 2:
        return False
    keys = node.args["group"].expressions
    dropped = keys[choose.number(len(keys))]
    node.args["group"].set("expressions", [key for key in keys if key is not dropped])
    outputs = [output for output in node.expressions if output.unalias() != dropped]
    node.set("expressions", outputs)
    return True


CHANGES: tuple[Change, ...] = (
    _flip,
    _literal,
    _drop,
    _or,
    _negate,
    _join,
    _distinct,
    _aggregate,
    _swap_column,
    _set_operation,
    _null_safe,
    _group_off,
)
