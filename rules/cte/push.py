"""Filters pushed into a query from above: through projections, GROUP BY keys and the branches of set operations.

A filter names output columns of the query without a table. Columns with a table belong to a query nested in the filter,
which must not be correlated.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from rules.build import aggregates, conjuncts, identifier, is_single_row, set_where, substitute
from rules.facts import Facts
from rules.sites import copied, grouping_sets


def pushed(query: exp.Query, filters: Sequence[exp.Expr], facts: Facts) -> exp.Query | None:
    """``query`` with the ``filters`` applied as deep inside as they go; filters that do not go are left out, because
    the caller keeps them above as well.

    A branch of a UNION that a filter contradicts is left out, or emptied where its types may matter. None when nothing
    remains to be read.
    """
    if isinstance(query, exp.SetOperation):
        return _into_set_operation(query, filters, facts)
    if isinstance(query, exp.Select):
        return _into_select(query, filters)
    return None


def with_pushed(query: exp.Query, body: exp.Query, filters: Sequence[exp.Expr], facts: Facts) -> exp.Query | None:
    """A copy of ``query`` whose part ``body`` has the ``filters`` applied inside; None when that changes nothing."""
    restricted = pushed(body, filters, facts) if filters else None
    if restricted is None or restricted.sql() == body.sql():
        return None
    copy, (site,) = copied(query, body)
    site.replace(restricted)
    return copy


def absorbed(query: exp.Query, part: exp.Expr) -> bool:
    """Whether ``pushed`` applies the filter to every row of ``query``, so that it need not be repeated above."""
    if isinstance(query, exp.Union) and _open(query):
        branches = (query.this, query.expression)
        return all(
            isinstance(branch, (exp.Select, exp.Union)) and absorbed(branch, _by_position(part, query, branch))
            for branch in branches
        )
    return isinstance(query, exp.Select) and _translated(query, part) is not None


def _open(query: exp.SetOperation) -> bool:
    """Whether a set operation lets filters through to its branches."""
    closed = any(query.args.get(clause) for clause in ("limit", "offset", "order", "with_", "by_name"))
    return not closed and not any(isinstance(branch, exp.Subquery) for branch in (query.this, query.expression))


def _into_set_operation(query: exp.SetOperation, filters: Sequence[exp.Expr], facts: Facts) -> exp.Query | None:
    if not _open(query):
        return query.copy()
    old = [branch for branch in (query.this, query.expression) if isinstance(branch, exp.Query)]
    new = [pushed(branch, [_by_position(part, query, branch) for part in filters], facts) for branch in old]
    if isinstance(query, exp.Union):
        if all(branch is None for branch in new):
            return None
        if not query.args.get("distinct") and same_types(old[0], old[1], facts):
            only = new[1] if new[0] is None else new[0] if new[1] is None else None
            if only is not None:
                return _named_like(only, query.named_selects)
    copy = query.copy()
    for place, branch, kept in zip(("this", "expression"), old, new, strict=True):
        copy.set(place, kept if kept is not None else _emptied(branch))
    return copy


def _emptied(query: exp.Query) -> exp.Query:
    """``query``, which a filter contradicts, without rows; its columns and their types stay."""
    copy = query.copy()
    pending: list[exp.Expr] = [copy]
    while pending:
        part = pending.pop()
        if isinstance(part, exp.SetOperation):
            pending.extend((part.this, part.expression))
        elif isinstance(part, exp.Select):
            set_where(part, [exp.false()])
    return copy


def _by_position(part: exp.Expr, query: exp.SetOperation, branch: exp.Query) -> exp.Expr:
    """A filter on the outputs of a set operation as one on those of a branch, whose names may differ."""
    names = dict(zip(query.named_selects, branch.named_selects, strict=True))
    return substitute(part, lambda node: None if node.table else exp.column(identifier(names[node.name])))


def same_types(left: exp.Query, right: exp.Query, facts: Facts) -> bool:
    """Whether both branches give every column the same known type: the set operation's type is then that of either.
    Otherwise one branch alone could turn, say, a division of decimals into one of integers."""
    branches = [left, right]
    for index, branch in enumerate(branches):
        while isinstance(branch, exp.SetOperation):
            # Its own branches may differ; only when they are seen to agree is one of them spoken for by the other.
            if not same_types(branch.this, branch.expression, facts):
                return False
            branch = branch.this
        branches[index] = branch
    if not all(isinstance(branch, exp.Select) for branch in branches):
        return False
    for one, other in zip(branches[0].selects, branches[1].selects, strict=True):
        types = facts.type(one.unalias()), facts.type(other.unalias())
        if types[0] != types[1] or types[0].is_type("unknown", "null"):
            return False
    return True


def _named_like(query: exp.Query, names: list[str]) -> exp.Query:
    """``query`` with its outputs called ``names``: they were those of a branch that is gone."""
    branch: exp.Expr = query
    while isinstance(branch, exp.SetOperation):
        branch = branch.this
    if isinstance(branch, exp.Select):
        outputs = [
            exp.alias_(output.unalias(), identifier(name)) for output, name in zip(branch.selects, names, strict=True)
        ]
        branch.set("expressions", outputs)
    return query


def _into_select(select: exp.Select, filters: Sequence[exp.Expr]) -> exp.Select | None:
    added = [_translated(select, part) for part in filters]
    if any(inner is False for inner in added):
        return None
    copy = select.copy()
    set_where(copy, [*conjuncts(copy.args.get("where")), *(inner for inner in added if isinstance(inner, exp.Expr))])
    return copy


def _translated(select: exp.Select, part: exp.Expr) -> exp.Expr | bool | None:
    """What a filter on the outputs of ``select`` says of the rows it reads: a condition for its WHERE, or the truth of
    it. None when it cannot be said there."""
    if any(select.args.get(clause) for clause in ("limit", "offset", "windows", "qualify")) or is_single_row(select):
        return None
    if (select.args.get("distinct") or exp.Distinct()).args.get("on"):
        return None
    group = select.args.get("group")
    if group is not None and (not group.expressions or grouping_sets(select)):
        return None
    if group is None and (select.args.get("having") or any(_may_aggregate(output) for output in select.selects)):
        return None
    outputs = {output.alias_or_name: output.unalias() for output in select.selects}
    if len(outputs) != len(select.selects) or any(output.find(exp.Window) for output in outputs.values()):
        return None
    named = [outputs.get(column.name) for column in part.find_all(exp.Column) if not column.table]
    if any(output is None or output.find(exp.Query) is not None for output in named):
        return None
    inner = substitute(part, lambda column: None if column.table else outputs[column.name])
    truth = _constant(inner)
    if truth is not None:
        return truth
    own = list(inner.walk(prune=lambda node: isinstance(node, exp.Query)))
    if any(isinstance(node, exp.AggFunc) for node in own):
        return None
    if group is not None:
        keys = {key.sql() for key in group.expressions}
        if not all(_covered(node, inner, keys) for node in own if isinstance(node, exp.Column)):
            return None
    return inner


def _may_aggregate(output: exp.Expr) -> bool:
    """Whether an output may be an aggregate; a function that the parser does not know may be one."""
    return bool(aggregates(output)) or output.find(exp.Anonymous) is not None


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
