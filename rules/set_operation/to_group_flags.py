"""Executable form of to_group_flags.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from rules.build import column, derived, fresh_name, identifier, union
from rules.facts import Facts
from rules.set_operation.operands import columns, comparable, operands, put, read
from rules.sites import copied, outer_columns


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """A chain of INTERSECT, or of EXCEPT, becomes one grouping of all rows, each marked with the side it comes from;
    once as the sides are, once without DISTINCT in them."""
    for kind in (exp.Intersect, exp.Except):
        for node in query.find_all(kind):
            above = node.parent
            while isinstance(above, exp.Subquery):
                above = above.parent
            if isinstance(above, kind) and node.find_ancestor(exp.Select) is above.find_ancestor(exp.Select):
                continue  # part of a longer chain
            parts = operands(node, kind)
            if parts is None or not comparable(parts, facts) or outer_columns(node):
                continue
            yield _rewritten(query, node, parts, kind, bare=False)
            if any(_droppable(part) for part in parts):
                yield _rewritten(query, node, parts, kind, bare=True)


def _droppable(part: exp.Query) -> bool:
    distinct = part.args.get("distinct")
    return distinct is not None and not distinct.args.get("on")


def _rewritten(
    query: exp.Query, node: exp.SetOperation, parts: Sequence[exp.Query], kind: type[exp.SetOperation], *, bare: bool
) -> exp.Query:
    copy, sites = copied(query, node, *parts)
    site = sites[0]
    assert isinstance(site, exp.SetOperation)
    names = site.named_selects
    alias = fresh_name(copy, "sides")
    mark = fresh_name(copy, "side", [alias, *names])
    branches: list[exp.Select] = []
    for number, part in enumerate(sites[1:], start=1):
        assert isinstance(part, exp.Query)
        inside = part.copy()
        if bare and _droppable(inside):
            inside.set("distinct", None)
        branch = exp.Select(
            expressions=[*columns(alias, names), exp.alias_(exp.Literal.number(number), identifier(mark))]
        )
        branch.set("from_", exp.From(this=read(inside, alias, names)))
        branches.append(branch)
    made = exp.Select(expressions=columns(alias, names))
    made.set("from_", exp.From(this=derived(union(branches), alias)))
    made.set("group", exp.Group(expressions=[column(alias, name) for name in names]))
    made.set("having", exp.Having(this=_condition(alias, mark, len(branches), kind)))
    return put(copy, site, made)


def _condition(alias: str, mark: str, sides: int, kind: type[exp.SetOperation]) -> exp.Expr:
    """INTERSECT: a row from every side; EXCEPT: none but from the first."""
    if kind is exp.Except:
        return exp.EQ(this=exp.Max(this=column(alias, mark)), expression=exp.Literal.number(1))
    tests = [
        exp.GT(
            this=exp.Filter(
                this=exp.Count(this=exp.Star()),
                expression=exp.Where(this=exp.EQ(this=column(alias, mark), expression=exp.Literal.number(number))),
            ),
            expression=exp.Literal.number(0),
        )
        for number in range(1, sides + 1)
    ]
    return exp.and_(*tests)
