"""Executable form of scalar_aggregate_to_window.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from sqlglot import exp

from rules import core as cores
from rules.build import aggregates, conjuncts, derived, fresh_name, identifier, set_where
from rules.correlation import correlation
from rules.facts import Facts
from rules.sites import copied, find_cte, only_inner, owner, relation_name, relations
from rules.sites import selects as all_selects
from rules.subquery.scalar_aggregate_to_join import correlated_aggregates, null_when_empty

MOST_ALIKE = 4  # relations of the subquery


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """A comparison with an aggregate over the very rows that the SELECT reads, correlated by a key, becomes one with a
    window function."""
    for outer in all_selects(query):
        if not _plain(outer):
            continue
        for subquery in correlated_aggregates(outer):
            found = _found(outer, subquery, facts)
            if found is not None:
                yield _rewritten(query, outer, subquery, found)


@dataclass
class _Found:
    """``names``: the relations of the subquery as those of the SELECT around; ``own``: the conjuncts around that the
    subquery has too; ``keys``: the columns around that the subquery is correlated by; ``present``: those of them that
    may be NULL."""

    names: Mapping[str, str]
    own: list[exp.Expr]
    keys: list[exp.Column]
    present: list[exp.Column]


def _plain(select: exp.Select) -> bool:
    names = [relation_name(item) for item in relations(select)]
    return (
        only_inner(select)
        and len(set(names)) == len(names)
        and not select.args.get("windows")
        and all(node.table for node in select.find_all(exp.Column) if owner(node) is select)
    )


def _found(outer: exp.Select, subquery: exp.Subquery, facts: Facts) -> _Found | None:
    inner = subquery.this
    if not only_inner(inner) or not facts.deterministic(inner) or inner.find(exp.Distinct, exp.Filter, exp.Order):
        return None
    if any(nested is not inner for nested in inner.find_all(exp.Query)) or len(relations(inner)) > MOST_ALIKE:
        return None
    tied = correlation(inner, outer)
    if tied is None or not tied.ties:
        return None
    around = cores.conditions(outer)
    stated = {part.sql(): part for part in around}
    filters = [*tied.own, *(part for join in inner.args.get("joins") or [] for part in conjuncts(join.args.get("on")))]
    for names in _mappings(inner, outer):
        own = [stated.get(_renamed(part, names).sql()) for part in filters]
        if any(part is None for part in own):
            continue
        keys = []
        for tie in tied.ties:
            key = _renamed(tie.inner, names)
            if not isinstance(key, exp.Column) or not _equated(key, tie.outer, around, facts):
                break
            keys.append(key)
        else:
            present = [key for key, tie in zip(keys, tied.ties, strict=True) if facts.nullable(tie.inner)]
            if present and not null_when_empty(inner.expressions[0].unalias()):
                return None  # COUNT is 0 for a key that is NULL
            return _Found(names, [part for part in own if part is not None], keys, present)
    return None


def _mappings(inner: exp.Select, outer: exp.Select) -> Iterator[dict[str, str]]:
    """The ways in which every relation of the subquery is one of the SELECT around."""
    own = [item for item in relations(inner) if isinstance(item, exp.Table)]
    if len(own) < len(relations(inner)):
        return
    tables = [item for item in relations(outer) if isinstance(item, exp.Table)]
    for chosen in permutations(tables, len(own)):
        if all(_source(one) == _source(other) for one, other in zip(own, chosen, strict=True)):
            pairs = zip(own, chosen, strict=True)
            yield {relation_name(one): relation_name(other) for one, other in pairs}


def _source(table: exp.Table) -> tuple[int, str]:
    cte = find_cte(table)
    bare = table.copy()
    bare.set("alias", None)
    return (id(cte) if cte is not None else 0, bare.sql())


def _renamed(part: exp.Expr, names: Mapping[str, str]) -> exp.Expr:
    copy = part.copy()
    for node in copy.find_all(exp.Column):
        if node.table in names:
            node.set("table", identifier(names[node.table]))
    return copy


def _equated(key: exp.Column, outer: exp.Expr, around: Sequence[exp.Expr], facts: Facts) -> bool:
    """Whether the key is the column that the subquery asks for, or is equal to it in the SELECT around."""
    if key.sql() == outer.sql():
        return True
    wanted = {key.sql(), outer.sql()}
    return any(
        isinstance(part, exp.EQ)
        and {part.this.sql(), part.expression.sql()} == wanted
        and facts.type(part.this) == facts.type(part.expression)
        and not facts.type(part.this).is_type("unknown")
        for part in around
    )


def _rewritten(query: exp.Query, outer: exp.Select, subquery: exp.Subquery, found: _Found) -> exp.Query:
    copy, (site, place, *own) = copied(query, outer, subquery, *found.own)
    assert isinstance(site, exp.Select)
    assert isinstance(place, exp.Subquery)
    core = frozenset(found.names.values())
    value = _renamed(place.this.expressions[0].unalias(), found.names)
    for call in aggregates(value):
        window = exp.Window(this=call.copy(), partition_by=[key.copy() for key in found.keys])
        if call is value:
            value = window
        else:
            call.replace(window)
    alias = fresh_name(copy, "windowed")
    result = fresh_name(copy, "value")
    place.replace(exp.column(identifier(result), table=identifier(alias)))
    moved = {id(part) for part in own}
    rest = [part for part in cores.conditions(site) if id(part) not in moved]
    made = cores.cut(site, core, [*cores.around(site), *rest])
    inside = [*(part.copy() for part in own), *(_not_null(key) for key in found.present)]
    made.inner.set("expressions", [*made.outputs(), exp.alias_(value, identifier(result))])
    set_where(made.inner, inside)
    cores.attach(site, core, cores.Core(made.inner, rest, made.names), derived(made.inner, alias))
    return copy


def _not_null(key: exp.Column) -> exp.Expr:
    return exp.Not(this=exp.Is(this=key.copy(), expression=exp.Null()))
