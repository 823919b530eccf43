"""Executable form of left_join_null_to_not_exists.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.build import conjuncts, drop_conjunct, set_where
from rules.facts import Facts
from rules.sites import copied, owner, relation_name, selects


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """A left join of which only the rows without a partner are kept becomes NOT EXISTS."""
    for select in selects(query):
        joins = select.args.get("joins") or []
        if select.args.get("laterals") or any(
            join.side in ("RIGHT", "FULL") or join.args.get("using") for join in joins
        ):
            continue
        for join in joins:
            if join.side != "LEFT" or join.args.get("method") or join.args.get("on") is None:
                continue
            test = _test(select, join, facts)
            if test is not None:
                copy, (site, old, part) = copied(query, select, join, test)
                yield _rewritten(copy, site, old, part)


def _test(select: exp.Select, join: exp.Join, facts: Facts) -> exp.Expr | None:
    """The conjunct ``column IS NULL`` that only rows without a partner fulfil, if nothing else reads the table."""
    item = join.this
    table = facts.table(item)
    if table is None or not isinstance(item, exp.Table) or item.args.get("joins") or item.args.get("sample"):
        return None
    name = relation_name(item)
    if not facts.deterministic(join.args["on"]) or join.args["on"].find(exp.Query) is not None:
        return None
    for part in conjuncts(select.args.get("where")):
        if not (
            isinstance(part, exp.Is) and isinstance(part.expression, exp.Null) and isinstance(part.this, exp.Column)
        ):
            continue
        column = table.column(part.this.name) if part.this.table == name and owner(part.this) is select else None
        if column is None or column.nullable:
            continue
        inside = {id(node) for node in (*part.find_all(exp.Column), *join.args["on"].find_all(exp.Column))}
        others = [
            node
            for node in select.find_all(exp.Column)
            if node.table == name and owner(node) is select and id(node) not in inside
        ]
        return part if not others else None
    return None


def _rewritten(copy: exp.Query, site: exp.Select, join: exp.Join, part: exp.Expr) -> exp.Query:
    inner = exp.Select(expressions=[exp.alias_(exp.Literal.number(1), "found")])
    inner.set("from_", exp.From(this=join.this.copy()))
    set_where(inner, conjuncts(join.args["on"]))
    drop_conjunct(part)
    site.set("joins", [other for other in site.args["joins"] if other is not join])
    set_where(site, [*conjuncts(site.args.get("where")), exp.Not(this=exp.Exists(this=inner))])
    return copy
