"""Executable form of in_to_join.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.build import add_relation, column, conjuncts, derived, fresh_name, set_where
from rules.facts import Facts
from rules.sites import copied, outer_columns, selects


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """``x IN (SELECT y ...)`` among the conjuncts of WHERE to a join with the distinct values of y."""
    for outer in selects(query):
        if any(join.side in ("RIGHT", "FULL") for join in outer.args.get("joins") or []):
            continue
        for part in conjuncts(outer.args.get("where")):
            subquery = part.args.get("query") if isinstance(part, exp.In) else None
            if not isinstance(subquery, exp.Subquery) or not isinstance(subquery.this, exp.Select):
                continue
            inner = subquery.this
            if outer_columns(inner) or len(inner.expressions) != 1 or not facts.deterministic(inner):
                continue
            if (inner.args.get("distinct") or exp.Distinct()).args.get("on"):
                continue
            if any(inner.args.get(clause) for clause in ("limit", "offset")) or part.this.find(exp.Query) is not None:
                continue
            copy, nodes = copied(query, outer, part)
            new_outer, site = nodes
            assert isinstance(new_outer, exp.Select)
            assert isinstance(site, exp.In)
            name = fresh_name(copy, "member")
            values = inner.copy()
            values.set("expressions", [exp.alias_(inner.expressions[0].unalias().copy(), "value")])
            values.set("order", None)
            if not facts.unique(inner, [inner.expressions[0].alias_or_name]):
                values.set("distinct", exp.Distinct())
            condition = exp.EQ(this=site.this.copy(), expression=column(name, "value"))
            set_where(new_outer, [kept for kept in conjuncts(new_outer.args.get("where")) if kept is not site])
            add_relation(new_outer, derived(values, name), condition)
            yield copy
