"""What the SELECT around a FROM/JOIN item demands of that item's rows: filters that may be applied inside it too."""

from __future__ import annotations

from sqlglot import exp

from rules.build import conjuncts, inner_conjuncts, set_where
from rules.facts import Facts
from rules.sites import only_inner, owner, relation_name, relations


def reader(item: exp.Expr) -> exp.Select | None:
    """The SELECT that reads a FROM/JOIN item directly; None when brackets or the like stand between."""
    if not isinstance(item.parent, (exp.From, exp.Join)):
        return None
    select = item.parent.parent
    return select if isinstance(select, exp.Select) else None


def own_filters(item: exp.Expr, facts: Facts) -> list[exp.Expr]:
    """The conjuncts of the reader's WHERE that read the item's columns alone.

    Empty when an outer join could bring rows back that the filters have taken away.
    """
    select = reader(item)
    if select is None:
        return []
    joins = select.args.get("joins") or []
    if any(join.side in ("RIGHT", "FULL") or (join.side and join.this is item) for join in joins):
        return []
    return local_filters(select, item, facts)


def semi_joins(item: exp.Expr, facts: Facts) -> list[exp.Expr]:
    """``column IN (SELECT key FROM table WHERE filters)`` for every base table that the reader joins to a column of the
    item and filters by itself: the item's other rows find no partner."""
    select = reader(item)
    if select is None or not only_inner(select):
        return []
    found: list[exp.Expr] = []
    for part in inner_conjuncts(select):
        if not isinstance(part, exp.EQ):
            continue
        for own, key in ((part.this, part.expression), (part.expression, part.this)):
            if not (isinstance(own, exp.Column) and isinstance(key, exp.Column)):
                continue
            if own.table != relation_name(item) or owner(own) is not select or owner(key) is not select:
                continue
            for other in relations(select):
                if relation_name(other) != key.table or other is item or facts.table(other) is None:
                    continue
                local = local_filters(select, other, facts)
                if local:
                    found.append(
                        exp.In(this=exp.column(own.this.copy()), query=exp.Subquery(this=_keys(key, other, local)))
                    )
    return found


def _keys(key: exp.Column, table: exp.Expr, filters: list[exp.Expr]) -> exp.Select:
    select = exp.Select(expressions=[exp.alias_(key.copy(), key.this.copy())])
    select.set("from_", exp.From(this=table.copy()))
    set_where(select, filters)
    return select


def local_filters(select: exp.Select, item: exp.Expr, facts: Facts) -> list[exp.Expr]:
    """The conjuncts of WHERE that read one relation alone."""
    name = relation_name(item)
    found = []
    for part in conjuncts(select.args.get("where")):
        columns = list(part.find_all(exp.Column))
        if not columns or part.find(exp.Query, exp.AggFunc, exp.Window) is not None or not facts.deterministic(part):
            continue
        if all(column.table == name and owner(column) is select for column in columns):
            found.append(part)
    return found


def on_outputs(part: exp.Expr) -> exp.Expr:
    """A filter on one relation's columns as one on the outputs of the query behind it: without the relation's name."""
    copy = part.copy()
    for column in copy.find_all(exp.Column):
        column.set("table", None)
    return copy
