"""Executable form of distinct_removed_by_key.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.aggregate.rows import aggregates_from_within, multiplies, plain_relations, told_apart
from rules.core import own_aggregates
from rules.facts import Facts
from rules.sites import copied, grouping_sets, selects


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """SELECT DISTINCT and COUNT(DISTINCT ..) of rows that a key tells apart anyway lose the DISTINCT."""
    for select in selects(query):
        if aggregates_from_within(select):
            continue
        distinct = select.args.get("distinct")
        if distinct is not None and not distinct.args.get("on") and plain_relations(select) and not multiplies(select):
            copy, (site,) = copied(query, select)
            limits = {clause: site.args.get(clause) for clause in ("limit", "offset")}
            # LIMIT 1 makes a single row only once the duplicates are gone.
            for clause in ("distinct", *limits):
                site.set(clause, None)
            if facts.unique(site, site.named_selects):
                for clause, value in limits.items():
                    site.set(clause, value)
                yield copy
        calls = [call for call in own_aggregates(select) if _counts_key(query, select, call, facts)]
        if calls:
            copy, sites = copied(query, *calls)
            for call in sites:
                call.set("this", call.this.expressions[0])
            yield copy


def _counts_key(query: exp.Query, select: exp.Select, call: exp.AggFunc, facts: Facts) -> bool:
    """Whether a call is COUNT(DISTINCT x) and no two rows of a group have the same x."""
    if not isinstance(call, exp.Count) or call.expressions or not isinstance(call.this, exp.Distinct):
        return False
    if call.this.args.get("on") or len(call.this.expressions) != 1:
        return False
    counted = call.this.expressions[0]
    if not isinstance(counted, exp.Column):
        return False
    group = select.args.get("group")
    keys = group.expressions if group is not None and not grouping_sets(select) else []
    columns = [counted, *(key for key in keys if isinstance(key, exp.Column))]
    return told_apart(query, select, columns, facts, present=counted.table)
