"""Executable form of count_to_exists.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.build import is_single_row
from rules.facts import Facts
from rules.sites import copied

# What each comparison of a count with 0 or 1 says about there being a row.
_SOME = {(exp.GT, "0"), (exp.NEQ, "0"), (exp.GTE, "1")}
_NONE = {(exp.EQ, "0"), (exp.LTE, "0"), (exp.LT, "1")}
_MIRRORED: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.GT: exp.LT,
    exp.LT: exp.GT,
    exp.GTE: exp.LTE,
    exp.LTE: exp.GTE,
    exp.EQ: exp.EQ,
    exp.NEQ: exp.NEQ,
}


def rewrites(query: exp.Query, _: Facts) -> Iterator[exp.Query]:
    """``(SELECT COUNT(*) ...) > 0`` to EXISTS, ``= 0`` to NOT EXISTS."""
    for comparison in query.find_all(*_MIRRORED):
        asked = _asked(comparison)
        if asked is None:
            continue
        subquery, some = asked
        copy, (site,) = copied(query, comparison)
        inner = subquery.this.copy()
        inner.set("expressions", [exp.Literal.number(1)])
        replacement: exp.Expr = exp.Exists(this=inner)
        site.replace(replacement if some else exp.Not(this=replacement))
        yield copy


def _asked(comparison: exp.Expr) -> tuple[exp.Subquery, bool] | None:
    """The counting subquery of a comparison, and whether it asks for some row (True) or none (False)."""
    kind = type(comparison)
    for subquery, number, operator in (
        (comparison.this, comparison.args.get("expression"), kind),
        (comparison.args.get("expression"), comparison.this, _MIRRORED[kind]),
    ):
        if not isinstance(subquery, exp.Subquery) or not isinstance(number, exp.Literal) or number.is_string:
            continue
        inner = subquery.this
        if not is_single_row(inner) or len(inner.expressions) != 1:
            continue
        counted = inner.expressions[0].unalias()
        if not isinstance(counted, exp.Count) or not isinstance(counted.this, exp.Star):
            continue
        if (operator, number.name) in _SOME:
            return subquery, True
        if (operator, number.name) in _NONE:
            return subquery, False
    return None
