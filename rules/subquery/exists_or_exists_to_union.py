"""Executable form of exists_or_exists_to_union.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.build import identifier, set_where, union
from rules.correlation import Correlation, correlation
from rules.facts import Facts
from rules.pattern_conditions import in_filter
from rules.sites import copied


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """An OR of EXISTS on the same outer values becomes one IN over the union of the values that each finds."""
    for node in query.find_all(exp.Or):
        above = node.parent
        while isinstance(above, exp.Paren):
            above = above.parent
        if isinstance(above, exp.Or) or not in_filter(node):
            continue
        found = _operands(node, facts)
        if found is not None:
            copy, (site,) = copied(query, node)
            site.replace(_membership(found))
            yield copy


def _operands(node: exp.Or, facts: Facts) -> list[tuple[exp.Select, Correlation]] | None:
    """The subqueries of the operands, each tied by equalities to the same values of the row around it."""
    outer = node.find_ancestor(exp.Select)
    if outer is None:
        return None
    found: list[tuple[exp.Select, Correlation]] = []
    for operand in node.flatten():
        bare = operand.unnest()
        select = bare.this if isinstance(bare, exp.Exists) else None
        if not isinstance(select, exp.Select) or not facts.deterministic(select):
            return None
        if any(select.args.get(clause) for clause in ("group", "having", "limit", "offset", "qualify", "distinct")):
            return None
        ties = correlation(select, outer)
        if ties is None or not ties.ties:
            return None
        found.append((select, ties))
    first = _by_outer(found[0][1])
    for _, ties in found[1:]:
        other = _by_outer(ties)
        if other.keys() != first.keys() or len(other) != len(ties.ties):
            return None
        for key, inner in first.items():
            types = facts.type(inner), facts.type(other[key])
            if types[0] != types[1] or types[0].is_type("unknown", "null"):
                return None
    return found if len(first) == len(found[0][1].ties) else None


def _by_outer(ties: Correlation) -> dict[str, exp.Expr]:
    return {tie.outer.sql(): tie.inner for tie in ties.ties}


def _membership(found: list[tuple[exp.Select, Correlation]]) -> exp.Expr:
    order = [tie.outer for tie in found[0][1].ties]
    branches: list[exp.Select] = []
    for select, ties in found:
        inner = _by_outer(ties)
        branch = select.copy()
        outputs = [
            exp.alias_(inner[outer.sql()].copy(), identifier(f"key_{number}"))
            for number, outer in enumerate(order, start=1)
        ]
        branch.set("expressions", outputs)
        branch.set("order", None)
        for join in branch.args.get("joins") or []:
            join.set("on", None)
            join.set("kind", None)
        set_where(branch, [*ties.own, *_on(select)])
        branches.append(branch)
    value = order[0].copy() if len(order) == 1 else exp.Tuple(expressions=[outer.copy() for outer in order])
    return exp.In(this=value, query=exp.Subquery(this=union(branches)))


def _on(select: exp.Select) -> list[exp.Expr]:
    """The conditions in ON, which ``correlation`` leaves where they are."""
    return [join.args["on"] for join in select.args.get("joins") or [] if join.args.get("on") is not None]
