"""Executable form of materialize_cte.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.build import fresh_name, identifier
from rules.facts import Facts
from rules.sites import copied, outer_columns, references, selects


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """All CTEs that are read once become materialised, then all of them that group, then each alone; then each derived
    table that reads several relations becomes such a CTE."""
    once = [
        cte
        for clause in query.find_all(exp.With)
        if not clause.args.get("recursive")
        for cte in clause.expressions
        if cte.args.get("materialized") is None and len(references(query, cte)) == 1
    ]
    if len(once) > 1:
        yield _materialized(query, once)
    grouped = [cte for cte in once if _groups(cte)]
    if 1 < len(grouped) < len(once):
        yield _materialized(query, grouped)
    for cte in once:
        yield _materialized(query, [cte])
    for select in selects(query):
        if select.find_ancestor(exp.With) is not None:
            continue
        for node in [select.args.get("from_"), *(select.args.get("joins") or [])]:
            item = node.this if isinstance(node, (exp.From, exp.Join)) else None
            if isinstance(item, exp.Subquery) and _movable(query, item, facts):
                yield _moved(query, item)


def _groups(cte: exp.CTE) -> bool:
    """Whether a CTE's query, or each branch of it, is a grouping."""
    pending = [cte.this]
    while pending:
        part = pending.pop()
        if isinstance(part, exp.SetOperation):
            pending.extend((part.this, part.expression))
        elif not isinstance(part, exp.Select) or part.args.get("group") is None:
            return False
    return True


def _materialized(query: exp.Query, ctes: list[exp.CTE]) -> exp.Query:
    copy, sites = copied(query, *ctes)
    for site in sites:
        site.set("materialized", True)
    return copy


def _movable(query: exp.Query, item: exp.Subquery, facts: Facts) -> bool:
    body = item.this
    alias = item.args.get("alias")
    if not isinstance(body, exp.Query) or alias is None or alias.columns or item.args.get("sample"):
        return False
    if outer_columns(body) or not facts.deterministic(body) or len(list(body.find_all(exp.Table))) < 2:
        return False
    clause = query.args.get("with_")
    if clause is not None and clause.args.get("recursive"):
        return False
    # It must not read a CTE that only a query between here and the top can see.
    inner = item.find_ancestor(exp.Query)
    while inner is not None and inner is not query:
        if inner.args.get("with_") is not None:
            return False
        inner = inner.find_ancestor(exp.Query)
    return True


def _moved(query: exp.Query, item: exp.Subquery) -> exp.Query:
    copy, (site,) = copied(query, item)
    name = fresh_name(copy, f"{item.alias}_rows")
    cte = exp.CTE(this=site.this.copy(), alias=exp.TableAlias(this=identifier(name)), materialized=True)
    site.replace(exp.Table(this=identifier(name), alias=exp.TableAlias(this=identifier(item.alias))))
    clause = copy.args.get("with_")
    if clause is None:
        copy.set("with_", exp.With(expressions=[cte]))
    else:
        clause.append("expressions", cte)
    return copy
