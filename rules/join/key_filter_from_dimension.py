"""Executable form of key_filter_from_dimension.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.build import column, conjuncts, fresh_name, identifier, set_where
from rules.cte.placing import add_in_front
from rules.facts import Facts
from rules.join.conditions import column_pair, holding, named, plain, readable
from rules.sites import copied, find_cte, owner, relation_name, relations, selects, with_of


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """For each filtered table that is joined on its key: the columns joined to it must be among the keys that its
    filters leave. The keys are listed in a subquery, and once more in a materialised CTE."""
    clause = with_of(query)
    for select in selects(query):
        # With two relations the join itself is the semi-join.
        if len(relations(select)) < 3 or not readable(select):
            continue
        parts = holding(select)
        for item in relations(select):
            table = facts.table(item)
            if table is None or not isinstance(item, exp.Table) or item.args.get("sample"):
                continue
            filters = [part for part in parts if _about(part, select, relation_name(item), facts)]
            if not filters:
                continue
            for key in sorted({name for names in facts.keys(item) if len(names) == 1 for name in names}):
                joined = _joined(parts, select, item, key, facts)
                if not joined:
                    continue
                yield _in_subquery(query, select, joined, _keys(item, key, filters))
                if clause is None or not clause.args.get("recursive"):
                    yield _in_cte(query, select, joined, _keys(item, key, filters), key)


def _about(part: exp.Expr, select: exp.Select, name: str, facts: Facts) -> bool:
    """Whether a condition is a filter on that relation alone."""
    columns = list(part.find_all(exp.Column))
    return (
        bool(columns)
        and plain(part, select)
        and facts.deterministic(part)
        and all(node.table == name for node in columns)
        and not _is_not_null(part)
    )


def _is_not_null(part: exp.Expr) -> bool:
    """Whether a condition is ``x IS NOT NULL``, which leaves all rows of most tables."""
    return isinstance(part, exp.Not) and isinstance(part.this, exp.Is)


def _joined(parts: list[exp.Expr], select: exp.Select, item: exp.Expr, key: str, facts: Facts) -> list[exp.Column]:
    """The columns of other relations, no smaller than the item as far as is known, that are equated with its key and
    not yet restricted to a list of keys of its table."""
    found: dict[tuple[str, str], exp.Column] = {}
    for part in parts:
        pair = column_pair(part, select)
        for one, other in (pair, pair[::-1]) if pair is not None else ():
            if (one.table, one.name) != (relation_name(item), key) or (other.table, other.name) in found:
                continue
            if not _alike(facts.type(one), facts.type(other)):
                continue
            rows, wanted = facts.rows(item), facts.rows(named(select, other.table))
            if rows is not None and wanted is not None and rows > wanted:
                continue
            if not any(_lists_keys(condition, other, select, item, facts) for condition in parts):
                found[other.table, other.name] = other
    return list(found.values())


def _alike(one: exp.DataType, other: exp.DataType) -> bool:
    """Whether `=` and IN surely compare two types in the same way: they are the same, or both integers."""
    if one.is_type("unknown") or other.is_type("unknown"):
        return False
    return one == other or all(type_.is_type("smallint", "int", "bigint") for type_ in (one, other))


def _lists_keys(part: exp.Expr, tested: exp.Column, select: exp.Select, item: exp.Expr, facts: Facts) -> bool:
    """Whether a condition is ``tested IN (SELECT .. FROM table of the item)``, perhaps by way of a CTE."""
    if not isinstance(part, exp.In) or not isinstance(part.this, exp.Column) or part.args.get("query") is None:
        return False
    if (part.this.table, part.this.name) != (tested.table, tested.name) or owner(part.this) is not select:
        return False
    read = list(part.args["query"].find_all(exp.Table))
    bodies = [cte.this for cte in map(find_cte, read) if cte is not None]
    read.extend(inner for body in bodies for inner in body.find_all(exp.Table))
    return any(facts.table(inner) == facts.table(item) for inner in read)


def _keys(item: exp.Expr, key: str, filters: list[exp.Expr]) -> exp.Select:
    """``SELECT key FROM item WHERE filters``."""
    keys = exp.Select(expressions=[exp.alias_(column(relation_name(item), key), identifier(key))])
    keys.set("from_", exp.From(this=item.copy()))
    set_where(keys, filters)
    return keys


def _in_subquery(query: exp.Query, select: exp.Select, tested: list[exp.Column], keys: exp.Select) -> exp.Query:
    copy, (site,) = copied(query, select)
    _restrict(site, tested, keys)
    return copy


def _in_cte(query: exp.Query, select: exp.Select, tested: list[exp.Column], keys: exp.Select, key: str) -> exp.Query:
    copy, (site,) = copied(query, select)
    name = fresh_name(query, f"keys_of_{relation_name(keys.args['from_'].this)}")
    listed = exp.Select(expressions=[exp.alias_(column(name, key), identifier(key))])
    listed.set("from_", exp.From(this=exp.Table(this=identifier(name), alias=exp.TableAlias(this=identifier(name)))))
    _restrict(site, tested, listed)
    add_in_front(copy, [exp.CTE(this=keys, alias=exp.TableAlias(this=identifier(name)), materialized=True)])
    return copy


def _restrict(site: exp.Select, tested: list[exp.Column], keys: exp.Select) -> None:
    """Add ``column IN (keys)`` for each of the columns to WHERE, in place."""
    added = [exp.In(this=column(node.table, node.name), query=exp.Subquery(this=keys.copy())) for node in tested]
    set_where(site, [*conjuncts(site.args.get("where")), *added])
