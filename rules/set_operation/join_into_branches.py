"""Executable form of join_into_branches.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from rules import core as cores
from rules.build import derived, fresh_name, union
from rules.cte.placing import remove
from rules.cte.push import same_types
from rules.facts import Facts
from rules.set_operation.branches import branches, captured, read_alone, with_names
from rules.sites import copied, find_cte, relation_name, relations, selects


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """A UNION ALL joined to filtered tables becomes a UNION ALL of joins."""
    for select in selects(query):
        if not cores.splittable(select, facts):
            continue
        for item in relations(select):
            body = read_alone(query, item, facts)
            parts = branches(body) if body is not None else None
            if body is None or parts is None or any(part.find(exp.Group) for part in parts):
                continue
            if not all(same_types(parts[0], part, facts) for part in parts[1:]):
                continue
            core = _core(select, item, facts)
            moved = [body, *(other for other in relations(select) if relation_name(other) in core)]
            if len(core) > 1 and not any(captured(query, other) for other in moved):
                yield _rewritten(query, select, item, core, parts)


def _core(select: exp.Select, item: exp.Expr, facts: Facts) -> frozenset[str]:
    """The union and the filtered base tables that an equality joins to it."""
    tables = {relation_name(other) for other in relations(select) if facts.table(other) is not None}
    name = relation_name(item)
    return frozenset({name}) | (tables & cores.filtered(select) & cores.neighbours(select)[name])


def _rewritten(
    query: exp.Query, select: exp.Select, item: exp.Expr, core: frozenset[str], parts: Sequence[exp.Select]
) -> exp.Query:
    cte = find_cte(item)
    copy, nodes = copied(query, select, *([cte] if cte is not None else []))
    site = nodes[0]
    assert isinstance(site, exp.Select)
    made = cores.cut(site, core, cores.around(site))
    # Where the SELECT around only counts rows, something has to be selected nevertheless.
    made.inner.set("expressions", made.outputs() or [exp.alias_(exp.Literal.number(1), "one")])
    names = parts[0].named_selects
    joined: list[exp.Query] = []
    for part in parts:
        branch = made.inner.copy()
        (place,) = [other for other in relations(branch) if relation_name(other) == relation_name(item)]
        place.replace(derived(with_names(part, part.selects, names), relation_name(item)))
        joined.append(branch)
    cores.attach(site, core, made, derived(union(joined), fresh_name(copy, "joined")))
    for shared in nodes[1:]:
        remove(shared)
    return copy
