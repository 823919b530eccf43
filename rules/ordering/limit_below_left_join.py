"""Executable form of limit_below_left_join.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from rules import core as cores
from rules.aggregate.rows import MULTIPLYING, aggregates_from_within, plain_relations
from rules.build import column, conjuncts, derived, fresh_name, identifier
from rules.facts import Facts
from rules.sites import copied, outer_columns, owner, relation_name, relations, selects


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """ORDER BY and LIMIT are applied before left joins that only look something up for each row."""
    for select in selects(query):
        if not _suited(select, facts):
            continue
        order = _order(select)
        if order is None:
            continue
        late = _lookups(select, order, facts)
        if late:
            yield _rewritten(query, select, len(late))


def _suited(select: exp.Select, facts: Facts) -> bool:
    limit = select.args.get("limit")
    if not isinstance(limit, exp.Limit) or limit.args.get("limit_options") or not _count(limit.expression):
        return False
    offset = select.args.get("offset")
    if offset is not None and not _count(offset.expression):
        return False
    if any(select.args.get(clause) for clause in ("group", "having", "distinct", "qualify", "windows")):
        return False
    if not plain_relations(select) or outer_columns(select) or not facts.deterministic(select):
        return False
    if cores.own_aggregates(select) or aggregates_from_within(select):
        return False
    parts = cores.around(select)
    return not any(part.find(exp.Window, *MULTIPLYING) is not None for part in parts)


def _count(node: exp.Expr | None) -> bool:
    """Whether LIMIT or OFFSET says how many rows by a number or a parameter."""
    if isinstance(node, exp.Literal):
        return not node.is_string and node.name.isdigit()
    return isinstance(node, (exp.Parameter, exp.Placeholder))


def _order(select: exp.Select) -> list[exp.Ordered] | None:
    """ORDER BY in terms of the joined rows, outputs named in it replaced by what they are; None when that fails."""
    clause = select.args.get("order")
    if clause is None:
        return None
    outputs = {output.alias_or_name: output.unalias() for output in select.selects}
    found = []
    for entry in clause.expressions:
        if not isinstance(entry, exp.Ordered) or entry.args.get("with_fill"):
            return None
        sorted_by = entry.this
        if isinstance(sorted_by, exp.Column) and not sorted_by.table:
            sorted_by = outputs.get(sorted_by.name)
        # A bare number would be read as the number of an output.
        if sorted_by is None or sorted_by.find(exp.Column) is None or sorted_by.find(exp.Query) is not None:
            return None
        if any(node.table == "" for node in sorted_by.find_all(exp.Column)):
            return None
        copy = entry.copy()
        copy.set("this", sorted_by.copy())
        found.append(copy)
    return found


def _lookups(select: exp.Select, order: Sequence[exp.Ordered], facts: Facts) -> list[exp.Join]:
    """The last joins of the SELECT that are left joins to at most one row each, and are read neither by WHERE nor by
    ORDER BY."""
    read = {node.table for entry in order for node in entry.find_all(exp.Column)}
    where = select.args.get("where")
    if where is not None:
        read |= cores.reads(where, select)
    names = {relation_name(item) for item in relations(select)}
    late: list[exp.Join] = []
    for join in reversed(select.args.get("joins") or []):
        name = relation_name(join.this)
        names.discard(name)
        if join.side != "LEFT" or name in read or not _found_once(join, names, facts):
            break
        late.insert(0, join)
    return late


def _found_once(join: exp.Join, others: set[str], facts: Facts) -> bool:
    """Whether ON equates a key of the joined relation with what the relations before it give."""
    name = relation_name(join.this)
    fixed = set()
    for part in conjuncts(join.args.get("on")):
        if not isinstance(part, exp.EQ) or part.find(exp.Query) is not None:
            continue
        for one, other in ((part.this, part.expression), (part.expression, part.this)):
            tables = {node.table for node in other.find_all(exp.Column)}
            if isinstance(one, exp.Column) and one.table == name and tables <= others:
                fixed.add(one.name)
    return facts.unique(join.this, fixed)


def _rewritten(query: exp.Query, select: exp.Select, number: int) -> exp.Query:
    copy, (site,) = copied(query, select)
    assert isinstance(site, exp.Select)
    order = _order(site)
    assert order is not None
    joins = site.args["joins"]
    late = joins[-number:]
    early = {relation_name(item) for item in relations(site)} - {relation_name(join.this) for join in late}
    alias = next(iter(early)) if len(early) == 1 else fresh_name(query, "limited")
    read = [
        node
        for part in (*site.expressions, site.args["order"], *late)
        for node in part.find_all(exp.Column)
        if node.table in early and owner(node) is site
    ]
    inner = exp.Select()
    for clause in ("from_", "where", "limit", "offset"):
        inner.set(clause, site.args.get(clause))
        site.set(clause, None)
    inner.set("joins", joins[:-number])
    inner.set("order", exp.Order(expressions=order))
    site.set("joins", late)
    names: dict[tuple[str, str], str] = {}
    for node in read:
        key = (node.table, node.name)
        if key not in names:
            names[key] = fresh_name(exp.select(), node.name, names.values())
        node.set("this", identifier(names[key]))
        node.set("table", identifier(alias))
    outputs = [exp.alias_(column(table, name), identifier(new)) for (table, name), new in names.items()]
    inner.set("expressions", outputs or [exp.alias_(exp.Literal.number(1), "one")])
    site.set("from_", exp.From(this=derived(inner, alias)))
    return copy
