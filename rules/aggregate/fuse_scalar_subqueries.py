"""Executable form of fuse_scalar_subqueries.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from sqlglot import exp

from rules.aggregate.fusion import fuse, skeleton
from rules.build import add_relation, aggregates, column, derived, fresh_name
from rules.facts import Facts
from rules.sites import copied, own_nodes, selects


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """All uncorrelated scalar aggregates of one SELECT over the same relations become columns of one derived row."""
    for outer in selects(query):
        groups: dict[tuple[str, ...], list[exp.Subquery]] = defaultdict(list)
        for subquery in own_nodes(outer, exp.Subquery):
            if not _replaceable(subquery, outer):
                continue
            shape = skeleton(subquery.this, facts)
            if shape is not None and len(subquery.this.expressions) == 1:
                groups[shape].append(subquery)
        for members in groups.values():
            if len(members) < 2:
                continue
            copy, nodes = copied(query, outer, *members)
            new_outer, *sites = nodes
            assert isinstance(new_outer, exp.Select)
            fused = fuse([site.this for site in sites])
            if fused is None:
                continue
            name = fresh_name(copy, "fused")
            for site, (output,) in zip(sites, fused.names, strict=True):
                value: exp.Expr = column(name, output)
                site.replace(exp.alias_(value, site.alias) if site.alias else value)
            add_relation(new_outer, derived(fused.select, name), None)
            yield copy


def _replaceable(subquery: exp.Subquery, outer: exp.Select) -> bool:
    """Whether a column of a joined relation may stand where the scalar subquery stands.

    In WHERE it always may. Behind a GROUP BY or beside aggregates it may not, because the column is not grouped, and
    an ON cannot see a relation that is joined after it.
    """
    if isinstance(subquery.parent, (exp.In, exp.From, exp.Join, exp.Exists, exp.SetOperation)):
        return False
    if isinstance(subquery.parent, (exp.Any, exp.All, exp.Lateral)):
        return False
    clause = subquery.find_ancestor(exp.Where, exp.Having, exp.Group, exp.Order, exp.Join, exp.Select)
    if isinstance(clause, exp.Where) and clause.parent is outer:
        return True
    if isinstance(clause, (exp.Having, exp.Group, exp.Join)):
        return False
    grouped = outer.args.get("group") or outer.args.get("having")
    return not grouped and not any(aggregates(output) for output in outer.expressions)
