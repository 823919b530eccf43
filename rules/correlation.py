"""Correlated subqueries taken apart: which conjuncts tie them to the outer query, and which are their own."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from rules.build import conjuncts
from rules.sites import only_inner, outer_columns, relation_name, relations, with_of


@dataclass(frozen=True)
class Tie:
    """One conjunct ``inner = outer`` of a subquery: one side reads its own relations only, one the outer's only."""

    inner: exp.Expr
    outer: exp.Expr


@dataclass(frozen=True)
class Correlation:
    """The conjuncts of a subquery's WHERE: equalities that tie it to the outer query, and all others (its own)."""

    ties: tuple[Tie, ...]
    own: tuple[exp.Expr, ...]


def correlation(subquery: exp.Select, outer: exp.Select) -> Correlation | None:
    """How ``subquery`` hangs on ``outer``, the SELECT it stands in directly.

    None when it hangs on it in any other way than by equalities in its own WHERE, when it reaches further out, or when
    its relations are not plainly inner-joined.
    """
    if with_of(subquery) is not None or not only_inner(subquery):
        return None
    foreign = outer_columns(subquery)
    near = {relation_name(item) for item in relations(outer)}
    if any(column.table not in near for column in foreign):
        return None
    marked = {id(column) for column in foreign}
    ties: list[Tie] = []
    own: list[exp.Expr] = []
    placed = 0
    for part in conjuncts(subquery.args.get("where")):
        count = _count(part, marked)
        if count == 0:
            own.append(part)
            continue
        tie = _tie(part, marked)
        if tie is None:
            return None
        ties.append(tie)
        placed += count
    if placed != len(marked):
        return None  # an outer column stands outside of WHERE, or deeper down
    return Correlation(tuple(ties), tuple(own))


def _tie(part: exp.Expr, foreign: set[int]) -> Tie | None:
    if not isinstance(part, exp.EQ) or part.find(exp.Query) is not None:
        return None
    for inner, outer in ((part.this, part.expression), (part.expression, part.this)):
        columns = list(outer.find_all(exp.Column))
        only_outer = bool(columns) and all(id(column) in foreign for column in columns)
        if only_outer and _count(inner, foreign) == 0 and inner.find(exp.Column) is not None:
            return Tie(inner, outer)
    return None


def _count(part: exp.Expr, foreign: set[int]) -> int:
    return sum(1 for column in part.find_all(exp.Column) if id(column) in foreign)
