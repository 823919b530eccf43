"""Executable form of self_joined_groups_to_filter.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlglot import exp

from rules import core as cores
from rules.build import column, derived, disjunction, fresh_name, identifier, inner_conjuncts, set_where
from rules.facts import Facts
from rules.sites import copied, find_cte, owner, relation_name, relations, selects

_ORDERED = (
    *exp.DataType.NUMERIC_TYPES,
    *exp.DataType.TEXT_TYPES,
    *exp.DataType.TEMPORAL_TYPES,
)


@dataclass(frozen=True)
class _Self:
    """References to one relation that agree on ``joined`` and differ in the constants that ``fixed`` columns equal."""

    names: tuple[str, ...]
    joined: tuple[str, ...]
    fixed: tuple[str, ...]
    values: tuple[tuple[exp.Expr, ...], ...]  # by reference, in the order of ``fixed``


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """A CTE joined to itself on part of its key, the rest of the key fixed by constants, becomes one grouping of it."""
    for select in selects(query):
        if not cores.splittable(select, facts):
            continue
        readers: dict[int, list[exp.Table]] = defaultdict(list)
        for item in relations(select):
            cte = find_cte(item)
            alias = item.args.get("alias")
            if cte is not None and isinstance(item, exp.Table) and not (alias is not None and alias.columns):
                readers[id(cte)].append(item)
        for items in readers.values():
            found = _self_join(select, items, facts)
            if found is not None:
                rewritten = _rewritten(query, select, items[0], found, facts)
                if rewritten is not None:
                    yield rewritten


def _self_join(select: exp.Select, items: Sequence[exp.Table], facts: Facts) -> _Self | None:
    """How some of ``items``, which read the same CTE, are joined to each other."""
    parts = inner_conjuncts(select)
    names = [relation_name(item) for item in items]
    fixed: dict[str, dict[str, exp.Expr]] = {name: {} for name in names}
    equal: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for part in parts:
        if not isinstance(part, exp.EQ):
            continue
        left, right = _sides(part)
        if not isinstance(left, exp.Column) or left.table not in fixed:
            continue
        if _constant(right):
            fixed[left.table].setdefault(left.name, right)
        elif isinstance(right, exp.Column) and right.table in fixed and left.name == right.name:
            equal[left.name].append((left.table, right.table))
    for key in sorted(facts.keys(items[0]), key=lambda key: (len(key), sorted(key))):
        constant = sorted(name for name in key if sum(name in literals for literals in fixed.values()) > 1)
        joined = sorted(key - set(constant))
        if not constant or not joined:
            continue
        members = [name for name in names if all(column in fixed[name] for column in constant)]
        members = _together(members, [equal[name] for name in joined])
        values = tuple(tuple(fixed[name][column] for column in constant) for name in members)
        if len(members) > 1 and len({tuple(value.sql() for value in row) for row in values}) == len(members):
            return _Self(tuple(members), tuple(joined), tuple(constant), values)
    return None


def _together(members: Sequence[str], pairs: Sequence[Sequence[tuple[str, str]]]) -> list[str]:
    """Those of ``members`` that every list of pairs connects to the first of them."""
    reached = list(members)
    for edges in pairs:
        group: set[str] = set()
        more = set(reached[:1])
        while more - group:
            group |= more
            more = {name for edge in edges if group & set(edge) for name in edge} & set(members)
        reached = [name for name in reached if name in group]
    return reached


def _rewritten(query: exp.Query, select: exp.Select, item: exp.Table, found: _Self, facts: Facts) -> exp.Query | None:
    for node in _columns(select, found):
        if facts.type(node).this not in _ORDERED:
            return None  # there is no MAX of its type
    copy, (site,) = copied(query, select)
    set_where(site, [part for part in inner_conjuncts(site) if not _said(part, found)])
    for join in site.args.get("joins") or []:
        join.set("on", None)
        join.set("kind", None)
    alias, inside = fresh_name(copy, "sides"), relation_name(item)
    sides = {
        name: exp.and_(
            *(
                exp.EQ(this=column(inside, key), expression=value.copy())
                for key, value in zip(found.fixed, row, strict=True)
            )
        )
        for name, row in zip(found.names, found.values, strict=True)
    }
    outputs: list[exp.Expr] = [exp.alias_(column(inside, key), identifier(key)) for key in found.joined]
    names: dict[tuple[str, str], str] = {}
    for node in _columns(site, found):
        if node.name in found.joined:
            new = node.name
        elif (node.table, node.name) in names:
            new = names[node.table, node.name]
        else:
            new = fresh_name(copy, f"{node.name}_{node.table}", names.values())
            names[node.table, node.name] = new
            value = _only(exp.Max(this=column(inside, node.name)), sides[node.table])
            outputs.append(exp.alias_(value, identifier(new)))
        node.replace(column(alias, new))
    relation = exp.Table(this=identifier(item.name), alias=exp.TableAlias(this=identifier(inside)))
    inner = exp.Select(expressions=outputs).from_(relation, copy=False)
    either = disjunction(sides.values())
    assert either is not None
    present = [exp.Not(this=exp.Is(this=column(inside, key), expression=exp.Null())) for key in found.joined]
    set_where(inner, [exp.Paren(this=either), *present])
    inner.set("group", exp.Group(expressions=[column(inside, key) for key in found.joined]))
    everyone = [
        exp.GT(this=_only(exp.Count(this=exp.Star()), side), expression=exp.Literal.number(0))
        for side in sides.values()
    ]
    inner.set("having", exp.Having(this=exp.and_(*everyone)))
    late = [other for other in relations(site) if relation_name(other) not in found.names]
    site.set("from_", exp.From(this=derived(inner, alias)))
    site.set("joins", [exp.Join(this=other) for other in late])
    return copy


def _columns(select: exp.Select, found: _Self) -> list[exp.Column]:
    """The columns of the self-joined references that are read outside of the conjuncts that the grouping fulfils."""
    said = {id(node) for part in inner_conjuncts(select) if _said(part, found) for node in part.find_all(exp.Column)}
    return [
        node
        for node in select.find_all(exp.Column)
        if node.table in found.names and owner(node) is select and id(node) not in said
    ]


def _only(call: exp.Expr, condition: exp.Expr) -> exp.Filter:
    return exp.Filter(this=call, expression=exp.Where(this=condition.copy()))


def _said(part: exp.Expr, found: _Self) -> bool:
    """Whether a conjunct is one of those that the grouping fulfils."""
    if not isinstance(part, exp.EQ):
        return False
    left, right = _sides(part)
    if not isinstance(left, exp.Column) or left.table not in found.names:
        return False
    if _constant(right):
        row = dict(zip(found.fixed, found.values[found.names.index(left.table)], strict=True))
        return left.name in row and row[left.name].sql() == right.sql()
    return (
        isinstance(right, exp.Column)
        and right.table in found.names
        and left.name == right.name
        and left.name in found.joined
    )


def _sides(part: exp.EQ) -> tuple[exp.Expr, exp.Expr]:
    """Both sides of an equality, a constant last."""
    return (part.expression, part.this) if _constant(part.this) else (part.this, part.expression)


def _constant(node: exp.Expr) -> bool:
    return node.find(exp.Column, exp.Query, exp.Func, exp.Placeholder, exp.Parameter) is None or isinstance(
        node, exp.Literal
    )
