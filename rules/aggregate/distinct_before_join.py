"""Executable form of distinct_before_join.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules import core as cores
from rules.build import derived, fresh_name
from rules.facts import Facts
from rules.sites import copied, relation_name, relations, selects

Place = tuple[exp.Select, frozenset[str]]


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """For each join whose duplicates do not count: the big relation, with what filters it, is made distinct before the
    other joins. First everywhere at once, then one by one."""
    places: list[Place] = []
    for select in selects(query):
        if _duplicates_do_not_count(select) and cores.splittable(select, facts):
            core = _core(select, facts)
            if core is not None:
                places.append((select, core))
    if len(places) > 1:
        yield _rewritten(query, places)
    for place in places:
        yield _rewritten(query, [place])


def _duplicates_do_not_count(select: exp.Select) -> bool:
    if cores.own_aggregates(select) or select.find(exp.Window) is not None or select.args.get("having"):
        return False
    if any(not isinstance(output, (exp.Alias, exp.Column)) for output in select.expressions):
        return False
    distinct = select.args.get("distinct")
    if distinct is not None:
        return not distinct.args.get("on")
    group = select.args.get("group")
    if group is not None:
        return all(isinstance(key, exp.Column) for key in group.expressions) and bool(group.expressions)
    if select.args.get("limit") or select.args.get("offset"):
        return False
    parent = select.parent
    if isinstance(parent, exp.SetOperation):
        return bool(parent.args.get("distinct"))
    return (
        isinstance(parent, exp.Subquery) and isinstance(parent.parent, exp.In) and parent.parent.args["query"] is parent
    )


def _core(select: exp.Select, facts: Facts) -> frozenset[str] | None:
    """The biggest relation that has duplicates in what is read of it, with what filters it."""
    joined, filtering = cores.neighbours(select), cores.filtered(select)
    names = [relation_name(item) for item in relations(select)]
    rows = {relation_name(item): facts.rows(item) or 0 for item in relations(select)}
    for largest in sorted(names, key=lambda name: -rows[name]):
        core = cores.grown([largest], filtering, joined)
        if len(core) == len(names):
            core = frozenset({largest})
        if _has_duplicates(select, core, facts):
            return core
    return None


def _has_duplicates(select: exp.Select, core: frozenset[str], facts: Facts) -> bool:
    """Whether the columns of ``core`` that are read outside of it contain no key of any of its relations."""
    outside = [part for part in cores.conditions(select) if not cores.reads(part, select) <= core]
    columns = [node for part in (*cores.around(select), *outside) for node in part.find_all(exp.Column)]
    read = {name: {node.name for node in columns if node.table == name} for name in core}
    items = [item for item in relations(select) if relation_name(item) in core]
    return any(read.values()) and not any(facts.unique(item, read[relation_name(item)]) for item in items)


def _rewritten(query: exp.Query, places: list[Place]) -> exp.Query:
    copy, sites = copied(query, *(select for select, _ in places))
    # Innermost first: what stands around one is copied with what has been done to it.
    for site, (_, core) in reversed(list(zip(sites, places, strict=True))):
        alias = fresh_name(copy, "different")
        made = cores.cut(site, core, cores.around(site))
        made.inner.set("expressions", made.outputs())
        made.inner.set("distinct", exp.Distinct())
        cores.attach(site, core, made, derived(made.inner, alias))
    return copy
