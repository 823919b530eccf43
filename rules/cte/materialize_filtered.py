"""Executable form of materialize_filtered.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from sqlglot import exp

from rules.build import column, drop_conjunct, fresh_name, identifier, set_where
from rules.cte.filters import local_filters
from rules.cte.placing import add_in_front
from rules.facts import Facts
from rules.sites import copied, only_inner, owner, relation_name, relations, selects

SMALL = 1_000_000  # rows: above, the filtered copy itself may cost more than it saves


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """For each table that is filtered and joined to others: all its filtered occurrences move, with their filters,
    into materialised CTEs. Occurrences with the same filter share one."""
    occurrences: dict[tuple[str | None, str], list[exp.Table]] = defaultdict(list)
    for select in selects(query):
        if not only_inner(select) or len(relations(select)) < 2:
            continue
        for item in relations(select):
            table = facts.table(item)
            if not isinstance(item, exp.Table) or table is None or (table.rows or 0) > SMALL:
                continue
            if local_filters(select, item, facts):
                occurrences[table.schema, table.name].append(item)
    for items in occurrences.values():
        yield _rewritten(query, items, facts)


def _rewritten(query: exp.Query, items: Sequence[exp.Table], facts: Facts) -> exp.Query:
    filters = [local_filters(_reader(item), item, facts) for item in items]
    copy, nodes = copied(query, *items, *(part for parts in filters for part in parts))
    sites, moved = nodes[: len(items)], nodes[len(items) :]
    for part in moved:
        drop_conjunct(part)
    made: dict[str, exp.CTE] = {}
    inside = items[0].name
    parts = iter(moved)
    for site, original in zip(sites, filters, strict=True):
        own = [_under_name(next(parts), inside) for _ in original]
        key = " AND ".join(sorted(part.sql() for part in own))
        if key not in made:
            name = fresh_name(copy, f"filtered_{inside}", [cte.alias for cte in made.values()])
            made[key] = _cte(site, own, inside, name)
        _select_also(made[key], _used_columns(site) or [next(own[0].find_all(exp.Column)).name], inside)
        alias = exp.TableAlias(this=identifier(relation_name(site)))
        site.replace(exp.Table(this=identifier(made[key].alias), alias=alias))
    add_in_front(copy, list(made.values()))
    return copy


def _reader(item: exp.Expr) -> exp.Select:
    select = item.find_ancestor(exp.Select)
    assert isinstance(select, exp.Select)
    return select


def _used_columns(item: exp.Expr) -> list[str]:
    select, name = _reader(item), relation_name(item)
    return sorted({node.name for node in select.find_all(exp.Column) if node.table == name and owner(node) is select})


def _under_name(part: exp.Expr, name: str) -> exp.Expr:
    """A copy of a filter on one relation, with that relation called ``name``: then equal filters have equal texts."""
    copy = part.copy()
    for node in copy.find_all(exp.Column):
        node.set("table", identifier(name))
    return copy


def _cte(item: exp.Expr, filters: Sequence[exp.Expr], inside: str, name: str) -> exp.CTE:
    table = item.copy()
    table.set("alias", exp.TableAlias(this=identifier(inside)))
    body = exp.Select(expressions=[])
    body.set("from_", exp.From(this=table))
    set_where(body, filters)
    return exp.CTE(this=body, alias=exp.TableAlias(this=identifier(name)), materialized=True)


def _select_also(cte: exp.CTE, names: Sequence[str], inside: str) -> None:
    """Make ``names`` outputs of the CTE's query, in place."""
    outputs = sorted({*cte.this.named_selects, *names})
    cte.this.set("expressions", [exp.alias_(column(inside, name), identifier(name)) for name in outputs])
