"""Filters pushed into a query from above: through projections, GROUP BY keys and the branches of set operations."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from rules.build import conjuncts, is_single_row, set_where, substitute
from rules.sites import grouping_sets


def pushed(query: exp.Query, filters: Sequence[exp.Expr]) -> exp.Query | None:
    """``query`` with the ``filters`` applied as deep inside as they go; filters that do not go are left out, because
    the caller keeps them above as well. ``filters`` name output columns of ``query`` without a table; columns with a
    table belong to a query nested in the filter, which must not be correlated.

    A branch of a UNION that a filter contradicts is left out. None when nothing remains to be read.
    """
    if isinstance(query, exp.SetOperation):
        return _into_set_operation(query, filters)
    if isinstance(query, exp.Subquery):
        return None
    if isinstance(query, exp.Select):
        return _into_select(query, filters)
    return None


def _into_set_operation(query: exp.SetOperation, filters: Sequence[exp.Expr]) -> exp.Query | None:
    if any(query.args.get(clause) for clause in ("limit", "offset", "order", "with_")) or query.args.get("by_name"):
        return query.copy()
    names = query.named_selects
    branches = []
    for branch in (query.this, query.expression):
        if not isinstance(branch, exp.Query) or isinstance(branch, exp.Subquery):
            return query.copy()
        # The branches name their columns as they like; position tells which is meant.
        renamed = [_renamed(part, dict(zip(names, branch.named_selects, strict=True))) for part in filters]
        branches.append(pushed(branch, renamed))
    left, right = branches
    if isinstance(query, exp.Union) and (left is None or right is None):
        only = left if left is not None else right
        if only is None:
            return None
        only = _named_like(only, names)
        if query.args.get("distinct") and isinstance(only, exp.Select):
            if any(only.args.get(clause) for clause in ("distinct", "limit", "offset")):
                return query.copy() if only.args.get("limit") or only.args.get("offset") else only
            only.set("distinct", exp.Distinct())
        elif query.args.get("distinct"):
            return query.copy()
        return only
    if left is None or right is None:
        return query.copy()
    copy = query.copy()
    copy.set("this", left)
    copy.set("expression", right)
    return copy


def _renamed(part: exp.Expr, names: dict[str, str]) -> exp.Expr:
    return substitute(part, lambda column: None if column.table else exp.column(exp.to_identifier(names[column.name])))


def _named_like(query: exp.Query, names: list[str]) -> exp.Query:
    """``query`` with its outputs called ``names``: they were those of a branch that is gone."""
    branch: exp.Expr = query
    while isinstance(branch, (exp.SetOperation, exp.Subquery)):
        branch = branch.this
    if isinstance(branch, exp.Select):
        outputs = [
            exp.alias_(output.unalias(), exp.to_identifier(name))
            for output, name in zip(branch.selects, names, strict=True)
        ]
        branch.set("expressions", outputs)
    return query


def _into_select(select: exp.Select, filters: Sequence[exp.Expr]) -> exp.Select | None:
    copy = select.copy()
    if any(copy.args.get(clause) for clause in ("limit", "offset", "windows", "qualify")) or is_single_row(copy):
        return copy
    if (copy.args.get("distinct") or exp.Distinct()).args.get("on"):
        return copy
    group = copy.args.get("group")
    if group is not None and (not group.expressions or grouping_sets(copy)):
        return copy
    if group is None and copy.args.get("having"):
        return copy
    keys = {key.sql() for key in group.expressions} if group is not None else None
    outputs = {output.alias_or_name: output.unalias() for output in copy.selects}
    if len(outputs) != len(copy.selects):
        return copy
    if any(output.find(exp.Window) is not None for output in outputs.values()):
        return copy
    added = []
    for part in filters:
        named = [outputs.get(column.name) for column in part.find_all(exp.Column) if not column.table]
        if any(output is None or output.find(exp.Query) is not None for output in named):
            continue
        inner = substitute(part, lambda column: None if column.table else outputs[column.name])
        truth = _constant(inner)
        if truth is False:
            return None
        own = list(inner.walk(prune=lambda node: isinstance(node, exp.Query)))
        if truth is True or any(isinstance(node, exp.AggFunc) for node in own):
            continue
        if keys is not None and not all(_covered(node, inner, keys) for node in own if isinstance(node, exp.Column)):
            continue
        added.append(inner)
    set_where(copy, [*conjuncts(copy.args.get("where")), *added])
    return copy


def _covered(column: exp.Expr, root: exp.Expr, keys: set[str]) -> bool:
    """Whether a column stands inside an expression that is a grouping key."""
    node: exp.Expr | None = column
    while node is not None:
        if node.sql() in keys:
            return True
        if node is root:
            return False
        node = node.parent
    return False


def _constant(condition: exp.Expr) -> bool | None:
    """The truth of ``'a' = 'b'`` and its like; None when it is not told by two literals of one kind."""
    if isinstance(condition, exp.Paren):
        return _constant(condition.this)
    if not isinstance(condition, (exp.EQ, exp.NEQ)):
        return None
    left, right = condition.this, condition.expression
    if not (isinstance(left, exp.Literal) and isinstance(right, exp.Literal)) or left.is_string != right.is_string:
        return None
    if left.is_string and (left.name.rstrip() != left.name or right.name.rstrip() != right.name):
        return None
    if not left.is_string and not (left.name.isdigit() and right.name.isdigit()):
        return None
    same = left.name == right.name if left.is_string else int(left.name) == int(right.name)
    return same if isinstance(condition, exp.EQ) else not same
