"""Executable form of distinct_join_to_semi_join.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from rules.aggregate.rows import MULTIPLYING, aggregates_from_within
from rules.build import inner_conjuncts, set_where
from rules.core import around, connected, neighbours, own_aggregates, reads
from rules.facts import Facts
from rules.join.conditions import readable
from rules.sites import copied, only_inner, relation_name, relations, selects

_NO = ("group", "having", "qualify", "windows")


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """Under DISTINCT, relations that only filter go into EXISTS, those that hang together into the same."""
    for select in selects(query):
        distinct = select.args.get("distinct")
        if distinct is None or distinct.args.get("on") or any(select.args.get(clause) for clause in _NO):
            continue
        if not only_inner(select) or not readable(select) or not facts.deterministic(select):
            continue
        parts = around(select)
        if own_aggregates(select) or aggregates_from_within(select):
            continue
        # A function that is not known may be an aggregate.
        if any(part.find(exp.Window, exp.AnonymousAggFunc, *MULTIPLYING) is not None for part in parts):
            continue
        kept = frozenset[str]().union(*(reads(part, select) for part in parts))
        filtering = [relation_name(item) for item in relations(select) if relation_name(item) not in kept]
        # Relations that only the others tie together would be left without a join condition.
        if kept and filtering and connected(kept, neighbours(select)):
            copy, (site,) = copied(query, select)
            assert isinstance(site, exp.Select)
            _split(site, _groups(site, filtering))
            yield copy


def _groups(select: exp.Select, names: Sequence[str]) -> list[set[str]]:
    """The relations ``names`` in sets such that no condition reads relations of two of them."""
    groups = [{name} for name in names]
    for part in inner_conjuncts(select):
        read = reads(part, select)
        together = [group for group in groups if group & read]
        if len(together) > 1:
            groups = [group for group in groups if group not in together]
            groups.append(set().union(*together))
    return groups


def _split(site: exp.Select, groups: Sequence[set[str]]) -> None:
    """Move each group of relations, with the conditions that read any of them, into an EXISTS, in place."""
    parts = [(part, reads(part, site)) for part in inner_conjuncts(site)]
    items = relations(site)
    moved = set[str]().union(*groups)
    conditions = [part for part, read in parts if not read & moved]
    for group in groups:
        inner = exp.Select(expressions=[exp.Literal.number(1)])
        _set_relations(inner, [item for item in items if relation_name(item) in group])
        set_where(inner, [part for part, read in parts if read & group])
        conditions.append(exp.Exists(this=inner))
    _set_relations(site, [item for item in items if relation_name(item) not in moved])
    set_where(site, conditions)


def _set_relations(select: exp.Select, items: Sequence[exp.Expr]) -> None:
    select.set("from_", exp.From(this=items[0].copy()))
    select.set("joins", [exp.Join(this=item.copy()) for item in items[1:]])
