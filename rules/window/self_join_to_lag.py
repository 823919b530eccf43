"""Executable form of self_join_to_lag.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlglot import exp

from rules.build import column, conjuncts, derived, flatten_joins, fresh_name, identifier, inner_conjuncts, set_where
from rules.facts import Facts
from rules.sites import (
    copied,
    find_cte,
    grouping_sets,
    only_inner,
    outer_columns,
    owner,
    relation_name,
    relations,
    selects,
)

_RANKS = (exp.RowNumber, exp.Rank, exp.DenseRank)


@dataclass(frozen=True)
class _Neighbour:
    """A relation that is joined to the row before (``back``) or behind that of the base relation. ``ranked`` is the
    conjunct that says so, ``equal`` are those that equate the keys, ``keys`` are the keys' names, ``rank`` is that of
    the rank. ``optional``: it is left-joined."""

    item: exp.Expr
    back: bool
    rank: str
    ranked: exp.Expr
    equal: tuple[exp.Expr, ...]
    keys: tuple[str, ...]
    optional: bool


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """A numbered relation joined to its own previous and next rows becomes LAG and LEAD over one reading of it."""
    for select in selects(query):
        best: tuple[exp.Expr, list[_Neighbour]] | None = None
        for base in relations(select):
            found = _neighbours(select, base, facts)
            if found and (best is None or len(found) > len(best[1])):
                best = base, found
        if best is not None:
            yield _rewritten(query, select, *best, facts)


def _neighbours(select: exp.Select, base: exp.Expr, facts: Facts) -> list[_Neighbour]:
    body = _numbered(base, facts)
    names = [relation_name(item) for item in relations(select)]
    if body is None or len(set(names)) != len(names) or not _plain_joins(select):
        return []
    found = []
    for join in [None, *(select.args.get("joins") or [])]:
        item = select.args["from_"].this if join is None else join.this
        if item is base or not _same(item, base, body, facts):
            continue
        optional = join is not None and join.side == "LEFT"
        if not optional and not only_inner(select):
            continue
        assert join is not None or not optional
        conditions = conjuncts(join.args.get("on")) if join is not None and optional else inner_conjuncts(select)
        neighbour = _neighbour(select, base, item, body, conditions, optional, facts)
        before = names.index(relation_name(base)) < names.index(relation_name(item))
        if neighbour is not None and (before or not optional) and not _captured(select, base, item):
            found.append(neighbour)
    # Both must partition by the same columns, so that one sort serves them.
    return [other for other in found if set(other.keys) == set(found[0].keys) and other.rank == found[0].rank]


def _plain_joins(select: exp.Select) -> bool:
    """Whether the relations are inner-joined, or left-joined by ON without a comma among them."""
    if only_inner(select):
        return True
    if select.args.get("laterals"):
        return False
    for join in select.args.get("joins") or []:
        if join.side not in ("", "LEFT") or join.kind not in ("", "CROSS", "INNER", "OUTER"):
            return False
        if join.args.get("using") or join.args.get("method"):
            return False
        if join.args.get("on") is None and join.kind != "CROSS":
            return False
    return all(
        isinstance(item, (exp.Table, exp.Subquery)) and not item.args.get("joins") and not item.args.get("sample")
        for item in relations(select)
    )


def _numbered(item: exp.Expr, facts: Facts) -> exp.Select | None:
    """The SELECT behind a relation when it gives a rank and the same rows on every reading."""
    body = facts.definition(item)
    alias = item.args.get("alias")
    cte = find_cte(item)
    if not isinstance(body, exp.Select) or (alias is not None and alias.columns):
        return None
    if cte is not None and cte.args["alias"].columns:
        return None
    names = body.named_selects
    if len(set(names)) != len(names) or not facts.deterministic(body) or outer_columns(body):
        return None
    # A function that returns a set would repeat the number of its row.
    if any(output.find(exp.Anonymous, exp.UDTF, exp.GenerateSeries) is not None for output in body.selects):
        return None
    return body


def _same(item: exp.Expr, base: exp.Expr, body: exp.Select, facts: Facts) -> bool:
    """Whether an item reads the same rows as the base: the same CTE, or a derived table with the same text."""
    alias = item.args.get("alias")
    if alias is not None and alias.columns:
        return False
    other = facts.definition(item)
    if isinstance(item, exp.Table) and isinstance(base, exp.Table):
        return other is body
    if isinstance(item, exp.Subquery) and isinstance(base, exp.Subquery):
        return other == body
    return False


def _neighbour(
    select: exp.Select,
    base: exp.Expr,
    item: exp.Expr,
    body: exp.Select,
    conditions: Sequence[exp.Expr],
    optional: bool,
    facts: Facts,
) -> _Neighbour | None:
    one, other = relation_name(base), relation_name(item)
    equal: list[exp.Expr] = []
    keys: list[str] = []
    ranked: list[tuple[exp.Expr, str, bool]] = []
    rest = False
    for part in conditions:
        pair = _paired(part, select)
        if pair is not None and {pair[0].table, pair[1].table} == {one, other} and pair[0].name == pair[1].name:
            mine = pair[0] if pair[0].table == one else pair[1]
            if pair[2] == 0:
                equal.append(part)
                keys.append(mine.name)
                continue
            # pair[0] = pair[1] + distance
            if abs(pair[2]) == 1:
                ranked.append((part, mine.name, (pair[2] > 0) == (mine is pair[0])))
                continue
        rest = True
    if len(ranked) != 1 or (optional and rest):
        return None
    part, rank, back = ranked[0]
    if rank in keys or not _unique(body, rank, set(keys), facts):
        return None
    return _Neighbour(item, back, rank, part, tuple(equal), tuple(dict.fromkeys(keys)), optional)


def _paired(part: exp.Expr, select: exp.Select) -> tuple[exp.Column, exp.Column, int] | None:
    """``x = y + distance`` for two columns of the SELECT's relations, out of the ways to write it."""
    if not isinstance(part, exp.EQ):
        return None
    left, right = _shifted(part.this), _shifted(part.expression)
    if left is not None and right is not None:
        x, y, distance = left[0], right[0], right[1] - left[1]
    else:
        # x - y = 1
        for difference, number in ((part.this, part.expression), (part.expression, part.this)):
            difference = difference.unnest()
            if isinstance(difference, exp.Sub) and _number(number) is not None:
                first, second = _shifted(difference.this), _shifted(difference.expression)
                if first is not None and second is not None and first[1] == second[1] == 0:
                    x, y, distance = first[0], second[0], _number(number) or 0
                    break
        else:
            return None
    return (x, y, distance) if owner(x) is select and owner(y) is select else None


def _shifted(node: exp.Expr) -> tuple[exp.Column, int] | None:
    """A column, or a column plus or minus a whole number."""
    node = node.unnest()
    if isinstance(node, exp.Column):
        return node, 0
    if isinstance(node, (exp.Add, exp.Sub)):
        left, right = node.this.unnest(), node.expression.unnest()
        if isinstance(left, exp.Column) and (number := _number(right)) is not None:
            return left, number if isinstance(node, exp.Add) else -number
        if isinstance(node, exp.Add) and isinstance(right, exp.Column) and (number := _number(left)) is not None:
            return right, number
    return None


def _number(node: exp.Expr) -> int | None:
    node = node.unnest()
    if isinstance(node, exp.Neg):
        inner = _number(node.this)
        return -inner if inner is not None else None
    return int(node.name) if isinstance(node, exp.Literal) and not node.is_string and node.name.isdigit() else None


def _unique(body: exp.Select, rank: str, keys: set[str], facts: Facts) -> bool:
    """Whether no two rows of ``body`` agree on the keys and the rank."""
    outputs = {output.alias_or_name: output.unalias() for output in body.selects}
    window = outputs[rank]
    if not isinstance(window, exp.Window) or not isinstance(window.this, _RANKS):
        return False
    window_of = _spelled(window)
    if window_of is None:
        return False
    partition, order = window_of
    given = {outputs[key].sql() for key in keys}
    if not all(part.sql() in given for part in partition):
        return False
    if isinstance(window.this, exp.RowNumber):
        return True
    # DISTINCT and LIMIT come behind the window function: a key that they make says nothing about the rows it numbers.
    if body.args.get("distinct") or body.args.get("limit") or grouping_sets(body):
        return False
    sorted_by = {part.sql() for part in (*partition, *(entry.this for entry in order))}
    return facts.unique(body, {name for name, output in outputs.items() if output.sql() in sorted_by})


def _spelled(window: exp.Window) -> tuple[list[exp.Expr], list[exp.Ordered]] | None:
    """PARTITION BY and ORDER BY of a window function; None for a named window."""
    if window.args.get("alias") or window.args.get("spec"):
        return None
    order = window.args.get("order")
    return list(window.args.get("partition_by") or []), list(order.expressions) if order is not None else []


def _captured(select: exp.Select, base: exp.Expr, item: exp.Expr) -> bool:
    """Whether a nested query reads ``item`` where the base's name means another relation."""
    for node in select.find_all(exp.Column):
        if node.table == relation_name(item) and owner(node) is select:
            scope = node.parent
            while scope is not None and scope is not select:
                if isinstance(scope, exp.Select) and any(
                    relation_name(inner) == relation_name(base) for inner in relations(scope)
                ):
                    return True
                scope = scope.parent
    return False


def _rewritten(
    query: exp.Query, select: exp.Select, base: exp.Expr, neighbours: list[_Neighbour], facts: Facts
) -> exp.Query:
    name = relation_name(base)
    keys, rank = neighbours[0].keys, neighbours[0].rank
    nullable = [key for key in keys if facts.nullable(_placed(select, name, key))]
    removed = [part for neighbour in neighbours for part in neighbour.equal]
    copy, (site, kept, *nodes) = copied(query, select, base, *removed)
    assert isinstance(site, exp.Select)
    gone = {id(node) for node in nodes}
    if only_inner(site):
        parts = [part for part in inner_conjuncts(site) if id(part) not in gone]
        required = [exp.Not(this=exp.Is(this=column(name, key), expression=exp.Null())) for key in nullable]
        flatten_joins(site)
        # The conjuncts are copied by this; columns are looked for below, in what stands then.
        set_where(site, [*parts, *required])
    used = {node.name for node in site.find_all(exp.Column) if node.table == name and owner(node) is site}
    body = facts.definition(base)
    assert body is not None
    outputs: list[exp.Expr] = [
        exp.alias_(column(name, output), identifier(output))
        for output in body.named_selects
        if output in used | {rank, *nullable}
    ]
    taken = {output.alias for output in outputs}
    for neighbour in neighbours:
        read = relation_name(neighbour.item)
        names: dict[str, str] = {}
        if neighbour.optional:
            next(join for join in site.args["joins"] if relation_name(join.this) == read).set("on", None)
        own = [node for node in site.find_all(exp.Column) if node.table == read and owner(node) is site]
        for node in own:
            old = node.name
            if old not in names:
                value = _moved(neighbour, name, old, keys, rank, nullable if neighbour.optional else None)
                names[old] = fresh_name(query, f"{'previous' if neighbour.back else 'next'}_{old}", taken)
                taken.add(names[old])
                outputs.append(exp.alias_(value, identifier(names[old])))
            node.replace(column(name, names[old]))
        _remove(site, read)
    inner = exp.Select(expressions=outputs, from_=exp.From(this=kept.copy()))
    kept_now = next(item for item in relations(site) if relation_name(item) == name)
    kept_now.replace(derived(inner, name))
    return copy


def _placed(select: exp.Select, table: str, name: str) -> exp.Column:
    """A column as it stands in the joined rows of the SELECT, for a question about it."""
    node = column(table, name)
    node.parent = select
    return node


def _remove(site: exp.Select, name: str) -> None:
    """Take a relation out of FROM, in place."""
    first = site.args["from_"].this
    joins = site.args.get("joins") or []
    if relation_name(first) == name:
        site.set("from_", exp.From(this=joins[0].this))
        joins = joins[1:]
    site.set("joins", [join for join in joins if relation_name(join.this) != name])


def _moved(
    neighbour: _Neighbour, table: str, name: str, keys: Sequence[str], rank: str, nullable: Sequence[str] | None
) -> exp.Expr:
    """The neighbour's column as a window function over the base relation. For a left join (``nullable`` is given) it is
    NULL when the row before or behind is not the one that was asked for."""
    value = _window(neighbour, table, name, keys, rank)
    if nullable is None:
        return value
    step = exp.Add if neighbour.back else exp.Sub
    other = step(this=_window(neighbour, table, rank, keys, rank), expression=exp.Literal.number(1))
    condition: exp.Expr = exp.EQ(this=column(table, rank), expression=other)
    for key in nullable:
        some = exp.Not(this=exp.Is(this=column(table, key), expression=exp.Null()))
        condition = exp.And(this=condition, expression=some)
    return exp.Case(ifs=[exp.If(this=condition, true=value)])


def _window(neighbour: _Neighbour, table: str, name: str, keys: Sequence[str], rank: str) -> exp.Window:
    call = exp.Lag if neighbour.back else exp.Lead
    return exp.Window(
        this=call(this=column(table, name)),
        partition_by=[column(table, key) for key in keys],
        order=exp.Order(expressions=[exp.Ordered(this=column(table, rank))]),
    )
