"""Executable form of not_in_to_not_exists.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.build import conjuncts, set_where
from rules.facts import Facts
from rules.sites import copied, relation_name, relations, with_of


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """``x NOT IN (SELECT y ...)`` to NOT EXISTS where neither x nor y can be NULL."""
    for negation in query.find_all(exp.Not):
        membership = negation.this.unnest() if isinstance(negation.this, exp.Paren) else negation.this
        if not isinstance(membership, exp.In) or not isinstance(membership.args.get("query"), exp.Subquery):
            continue
        inner = membership.args["query"].this
        if not plain_filter(inner) or facts.nullable(membership.this) or facts.nullable(inner.expressions[0]):
            continue
        if captures(membership.this, inner):
            continue
        copy, (site,) = copied(query, negation)
        site.replace(exp.Not(this=exists(membership)))
        yield copy


def plain_filter(inner: exp.Expr) -> bool:
    """Whether a subquery only selects one column and filters, so that a condition can be added to its WHERE."""
    if not isinstance(inner, exp.Select) or len(inner.expressions) != 1 or with_of(inner) is not None:
        return False
    clauses = ("group", "having", "limit", "offset", "qualify", "windows", "order")
    if any(inner.args.get(clause) for clause in clauses) or inner.args.get("from_") is None:
        return False
    if (inner.args.get("distinct") or exp.Distinct()).args.get("on"):
        return False
    output = inner.expressions[0]
    return output.find(exp.AggFunc, exp.Window, exp.Query) is None


def captures(outer: exp.Expr, inner: exp.Select) -> bool:
    """Whether a relation of ``inner`` has the name of one that ``outer``'s columns belong to."""
    names = {relation_name(item) for item in relations(inner)}
    return outer.find(exp.Query) is not None or any(column.table in names for column in outer.find_all(exp.Column))


def exists(membership: exp.In) -> exp.Exists:
    """``x IN (SELECT y FROM t WHERE p)`` as ``EXISTS (SELECT 1 FROM t WHERE p AND y = x)``."""
    inner = membership.args["query"].this.copy()
    condition = exp.EQ(this=inner.expressions[0].unalias().copy(), expression=membership.this.copy())
    set_where(inner, [*conjuncts(inner.args.get("where")), condition])
    inner.set("expressions", [exp.Literal.number(1)])
    inner.set("distinct", None)
    return exp.Exists(this=inner)
