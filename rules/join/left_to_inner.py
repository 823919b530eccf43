"""Executable form of left_to_inner.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.build import COMPARISONS, conjuncts
from rules.facts import Facts
from rules.join.conditions import is_comma, joins_of, readable
from rules.sites import copied, relation_name, relations, selects

# NULL whenever one of their operands is.
_STRICT = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.Paren, exp.Cast)
_STRICT_FUNCTIONS = (exp.Lower, exp.Upper, exp.Length, exp.Abs, exp.Trim)
_STRICT_PREDICATES = (*COMPARISONS, exp.Like, exp.ILike)
_QUANTIFIED = (exp.Any, exp.All)


def rewrites(query: exp.Query, _: Facts) -> Iterator[exp.Query]:
    """Outer joins whose rows without a partner are dropped later become inner joins, or outer on one side only; then a
    RIGHT JOIN becomes a LEFT JOIN of the other order."""
    for select in selects(query):
        if not readable(select) or not any(join.side for join in joins_of(select)):
            continue
        copy, (site,) = copied(query, select)
        assert isinstance(site, exp.Select)
        if _reduced(site):
            yield copy
        joins = joins_of(select)
        if joins[0].side == "RIGHT":
            copy, (site,) = copied(query, select)
            assert isinstance(site, exp.Select)
            first, join = site.args["from_"], joins_of(site)[0]
            left, right = first.this.copy(), join.this.copy()
            first.set("this", right)
            join.set("this", left)
            join.set("side", "LEFT")
            yield copy


def _reduced(site: exp.Select) -> bool:
    """Make outer joins of ``site`` narrower where that changes no row, in place; whether there was any."""
    changed = False
    joins = joins_of(site)
    again = True
    while again:
        again = False
        for at, join in enumerate(joins):
            if not join.side:
                continue
            left = {relation_name(item) for item in relations(site)[: at + 1]}
            later = _later(site, at)
            right_needed = _rejected(later, relation_name(join.this))
            left_needed = any(_rejected(later, name) for name in left)
            side = _side(join.side, left_needed, right_needed)
            if side != join.side:
                join.set("side", side or None)
                join.set("kind", None)
                again = changed = True
    return changed


def _side(side: str, left_needed: bool, right_needed: bool) -> str:
    """What remains of an outer join when the rows must have a left or a right partner."""
    if side == "FULL":
        return {(True, True): "", (True, False): "LEFT", (False, True): "RIGHT"}.get((left_needed, right_needed), side)
    needed = right_needed if side == "LEFT" else left_needed
    return "" if needed else side


def _later(site: exp.Select, at: int) -> list[exp.Expr]:
    """The conditions behind a join that every result row fulfils."""
    found = conjuncts(site.args.get("where"))
    joins = joins_of(site)
    for index in range(at + 1, len(joins)):
        join = joins[index]
        if not join.side and not is_comma(join) and not any(other.side in ("RIGHT", "FULL") for other in joins[index:]):
            found.extend(conjuncts(join.args.get("on")))
    return found


def _rejected(parts: list[exp.Expr], name: str) -> bool:
    """Whether one of the conditions is not true when all columns of the relation are NULL."""
    return any(_not_true(part, name) for part in parts)


def _not_true(part: exp.Expr, name: str) -> bool:
    if isinstance(part, exp.Paren):
        return _not_true(part.this, name)
    if isinstance(part, exp.And):
        return _not_true(part.this, name) or _not_true(part.expression, name)
    if isinstance(part, exp.Or):
        return _not_true(part.this, name) and _not_true(part.expression, name)
    if isinstance(part, exp.Not):
        return _not_false(part.this, name)
    if isinstance(part, exp.Between):
        bounds = (part.args["low"], part.args["high"])
        return not part.args.get("symmetric") and any(_null(node, name) for node in (part.this, *bounds))
    if isinstance(part, exp.In):  # over a subquery without rows it is false for NULL too
        return _null(part.this, name)
    if isinstance(part, exp.Is) and isinstance(part.expression, exp.Boolean):
        return _null(part.this, name)
    return _null(part, name)


def _not_false(part: exp.Expr, name: str) -> bool:
    if isinstance(part, exp.Paren):
        return _not_false(part.this, name)
    if isinstance(part, exp.And):
        return _not_false(part.this, name) and _not_false(part.expression, name)
    if isinstance(part, exp.Or):
        return _not_false(part.this, name) or _not_false(part.expression, name)
    if isinstance(part, exp.Not):
        return _not_true(part.this, name)
    if isinstance(part, exp.Is) and isinstance(part.expression, exp.Null):
        return _null(part.this, name)
    return _null(part, name)


def _null(node: exp.Expr | None, name: str) -> bool:
    """Whether an expression is NULL when all columns of the relation are."""
    if isinstance(node, exp.Column):
        return node.table == name
    if isinstance(node, exp.In):
        listed = bool(node.expressions) and not any(node.args.get(key) for key in ("query", "unnest", "field"))
        return listed and _null(node.this, name)
    if isinstance(node, exp.Between):
        return not node.args.get("symmetric") and _null(node.this, name)
    if type(node) in _STRICT_PREDICATES or isinstance(node, _STRICT):
        assert node is not None
        operands = [node.this, node.args.get("expression")]
        if any(isinstance(operand, _QUANTIFIED) for operand in operands):
            return False
        return any(_null(operand, name) for operand in operands if isinstance(operand, exp.Expr))
    if isinstance(node, exp.Not):
        return _null(node.this, name)
    return isinstance(node, _STRICT_FUNCTIONS) and _null(node.this, name)
