"""Executable form of fuse_cross_joined_aggregates.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from sqlglot import exp

from rules.aggregate.fusion import fuse, skeleton
from rules.build import column, conjuncts, derived, fresh_name, set_where
from rules.facts import Facts
from rules.sites import copied, only_inner, owner, relation_name, relations, selects


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """Derived tables of one row each over the same relations become one derived table."""
    for outer in selects(query):
        if not only_inner(outer):
            continue
        groups: dict[tuple[str, ...], list[exp.Subquery]] = defaultdict(list)
        for item in relations(outer):
            if isinstance(item, exp.Subquery) and not item.args["alias"].columns:
                shape = skeleton(item.this, facts)
                if shape is not None:
                    groups[shape].append(item)
        for members in groups.values():
            if len(members) > 1:
                rewritten = _rewritten(query, outer, members)
                if rewritten is not None:
                    yield rewritten


def _rewritten(query: exp.Query, outer: exp.Select, members: list[exp.Subquery]) -> exp.Query | None:
    copy, nodes = copied(query, outer, *members)
    new_outer, *sites = nodes
    assert isinstance(new_outer, exp.Select)
    fused = fuse([site.this for site in sites])
    if fused is None:
        return None
    name = fresh_name(copy, "fused")
    outputs = {
        (relation_name(site), projection.alias_or_name): output
        for site, row in zip(sites, fused.names, strict=True)
        for projection, output in zip(site.this.expressions, row, strict=True)
    }
    own = [node for node in new_outer.find_all(exp.Column) if owner(node) is new_outer]
    for node in own:
        output = outputs.get((node.table, node.name))
        if output is not None:
            node.replace(column(name, output))
    conditions = [part for join in new_outer.args.get("joins") or [] for part in conjuncts(join.args.get("on"))]
    kept = [item for item in relations(new_outer) if not any(item is site for site in sites)]
    items = [derived(fused.select, name), *kept]
    new_outer.set("from_", exp.From(this=items[0]))
    new_outer.set("joins", [exp.Join(this=item) for item in items[1:]])
    set_where(new_outer, [*conditions, *conjuncts(new_outer.args.get("where"))])
    return copy
