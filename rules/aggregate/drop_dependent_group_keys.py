"""Executable form of drop_dependent_group_keys.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules import core as cores
from rules.aggregate.rows import plain_relations
from rules.facts import Facts, inner_conjuncts_of
from rules.sites import copied, grouping_sets, owner, relation_name, relations, selects

_Name = tuple[str, str]
# Types that MIN takes and gives back. PostgreSQL's MIN of varchar is text: that one is cast.
_ORDERED = {
    exp.DataType.Type.SMALLINT,
    exp.DataType.Type.INT,
    exp.DataType.Type.BIGINT,
    exp.DataType.Type.DECIMAL,
    exp.DataType.Type.TEXT,
    exp.DataType.Type.VARCHAR,
    exp.DataType.Type.CHAR,
    exp.DataType.Type.DATE,
    exp.DataType.Type.TIMESTAMP,
    exp.DataType.Type.TIMESTAMPTZ,
}


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """GROUP BY loses the columns that its other columns determine; what is put out of them is their minimum."""
    for select in selects(query):
        if not _suited(select):
            continue
        dropped = _dependent(select, facts)
        if dropped:
            yield _rewritten(query, select, dropped, facts)


def _suited(select: exp.Select) -> bool:
    group = select.args.get("group")
    if group is None or len(group.expressions) < 2 or grouping_sets(select) or not plain_relations(select):
        return False
    if any(select.args.get(clause) for clause in ("windows", "qualify")):
        return False
    parts = cores.around(select)
    # An unknown function may be an aggregate, and then MIN must not stand inside it.
    return not any(part.find(exp.Query, exp.Anonymous, exp.Grouping) is not None for part in parts)


def _dependent(select: exp.Select, facts: Facts) -> list[_Name]:
    """The grouping columns that can go because those that stay determine them."""
    keys = [key for key in select.args["group"].expressions if isinstance(key, exp.Column) and owner(key) is select]
    equal: list[tuple[_Name, _Name]] = []
    for part in inner_conjuncts_of(select):
        if isinstance(part, exp.EQ) and isinstance(part.this, exp.Column) and isinstance(part.expression, exp.Column):
            left, right = part.this, part.expression
            # Equality between types is not always transitive.
            same = facts.type(left) == facts.type(right) and not facts.type(left).is_type("unknown")
            if same and owner(left) is select and owner(right) is select:
                equal.append(((left.table, left.name), (right.table, right.name)))
    joined = {name for pair in equal for name in pair}
    kept = list(dict.fromkeys((key.table, key.name) for key in keys))
    number = len(select.args["group"].expressions)
    dropped: list[_Name] = []
    for key in keys:
        name = (key.table, key.name)
        if name in joined or name in dropped or not _ordered(key, facts):
            continue
        rest = [other for other in kept if other != name]
        if number - len(dropped) > 1 and _determined(select, rest, name, equal, facts):
            kept = rest
            dropped.append(name)
    return dropped


def _ordered(key: exp.Column, facts: Facts) -> bool:
    return facts.type(key).this in _ORDERED


def _determined(
    select: exp.Select, given: list[_Name], wanted: _Name, equal: list[tuple[_Name, _Name]], facts: Facts
) -> bool:
    """Whether joined rows that agree on the ``given`` columns agree on the ``wanted`` one."""
    fixed = set(given)
    outer = any(join.side for join in select.args.get("joins") or [])
    whole: set[str] = set()
    while True:
        before = len(fixed), len(whole)
        for left, right in equal:
            if left in fixed or left[0] in whole:
                fixed.add(right)
            if right in fixed or right[0] in whole:
                fixed.add(left)
        for item in relations(select):
            name = relation_name(item)
            # A row that an outer join fills with NULL is told from others by a key of a table, which is not NULL there.
            trusted = not outer or facts.table(item) is not None
            if trusted and facts.unique(item, {column for table, column in fixed if table == name}):
                whole.add(name)
        if wanted in fixed or wanted[0] in whole:
            return True
        if (len(fixed), len(whole)) == before:
            return False


def _rewritten(query: exp.Query, select: exp.Select, dropped: list[_Name], facts: Facts) -> exp.Query:
    copy, (site,) = copied(query, select)
    aggregates = {id(call) for call in cores.own_aggregates(site)}
    types = {
        (key.table, key.name): facts.type(key)
        for key in select.args["group"].expressions
        if isinstance(key, exp.Column)
    }
    group = site.args["group"]
    for part in cores.around(site):
        if part is group:
            continue
        for node in list(part.find_all(exp.Column)):
            name = (node.table, node.name)
            if name not in dropped or _aggregated(node, site, aggregates):
                continue
            call: exp.Expr = exp.Min(this=node.copy())
            if types[name].this is exp.DataType.Type.VARCHAR and facts.dialect == "postgres":
                call = exp.Cast(this=call, to=types[name].copy())
            node.replace(call)
    group.set(
        "expressions",
        [key for key in group.expressions if not (isinstance(key, exp.Column) and (key.table, key.name) in dropped)],
    )
    return copy


def _aggregated(node: exp.Expr, site: exp.Expr, aggregates: set[int]) -> bool:
    """Whether a node stands in an aggregate call of the grouping, or in the FILTER or WITHIN GROUP behind one."""
    above: exp.Expr | None = node
    while above is not None and above is not site:
        if id(above) in aggregates:
            return True
        if isinstance(above, (exp.Filter, exp.WithinGroup)) and id(above.this) in aggregates:
            return True
        above = above.parent
    return False
