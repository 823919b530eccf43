"""Executable form of materialize_filtered.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.build import column, conjuncts, fresh_name, set_where
from rules.facts import Facts
from rules.sites import copied, only_inner, owner, relation_name, relations, selects

SMALL = 1_000_000  # rows: above, the filtered copy itself may cost more than it saves


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """A filtered table joined to others moves, with its filter, into a materialised CTE."""
    for select in selects(query):
        if not only_inner(select) or len(relations(select)) < 2:
            continue
        for item in relations(select):
            table = facts.table(item)
            if table is None or (table.rows or 0) > SMALL:
                continue
            local = _local(select, relation_name(item))
            if local and all(facts.deterministic(part) for part in local):
                yield _rewritten(query, select, item, local)


def _local(select: exp.Select, name: str) -> list[exp.Expr]:
    """The conjuncts of WHERE that read one relation alone."""
    found = []
    for part in conjuncts(select.args.get("where")):
        columns = list(part.find_all(exp.Column))
        if part.find(exp.Query) is None and columns and all(node.table == name for node in columns):
            found.append(part)
    return found


def _rewritten(query: exp.Query, select: exp.Select, item: exp.Expr, local: list[exp.Expr]) -> exp.Query:
    copy, nodes = copied(query, select, item, *local)
    site, table, *parts = nodes
    assert isinstance(site, exp.Select)
    assert isinstance(table, exp.Table)
    name = relation_name(table)
    used = sorted({node.name for node in site.find_all(exp.Column) if node.table == name and owner(node) is site})
    body = exp.Select(expressions=[exp.alias_(column(name, used_name), used_name) for used_name in used])
    body.set("from_", exp.From(this=table.copy()))
    set_where(body, parts)
    cte = exp.CTE(
        this=body,
        alias=exp.TableAlias(this=exp.to_identifier(fresh_name(copy, f"filtered_{table.name}"))),
        materialized=True,
    )
    set_where(site, [part for part in conjuncts(site.args.get("where")) if not any(part is gone for gone in parts)])
    table.replace(exp.Table(this=exp.to_identifier(cte.alias), alias=exp.TableAlias(this=exp.to_identifier(name))))
    clause = copy.args.get("with_")
    if clause is None:
        copy.set("with_", exp.With(expressions=[cte]))
    else:
        # In front, so that every other CTE may read it.
        clause.set("expressions", [cte, *clause.expressions])
    return copy
