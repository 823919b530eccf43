"""Executable form of full_join_of_aggregates_to_union.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlglot import exp

from rules.aggregate.rows import multiplies
from rules.build import column, conjuncts, derived, disjunction, fresh_name, identifier
from rules.cte.placing import remove
from rules.facts import Facts
from rules.join.conditions import column_pair, joins_of, readable, uses
from rules.sites import copied, find_cte, grouping_sets, references, relation_name, relations, selects

_AGGREGATES = (exp.Sum, exp.Avg, exp.Min, exp.Max, exp.Count)
_NO = ("having", "limit", "offset", "qualify", "windows", "distinct", "laterals", "with_")


@dataclass(frozen=True)
class _Side:
    """One side of the FULL JOIN: what it is called, the SELECT that groups it, its grouping expressions in the order of
    the ON, the outputs that they are, and the aggregates that are read, by output."""

    name: str
    body: exp.Select
    keys: tuple[exp.Expr, ...]
    key_names: tuple[str, ...]
    values: dict[str, exp.AggFunc]


@dataclass(frozen=True)
class _Names:
    """The columns of the rows of both sides, and of the groups made of them."""

    keys: tuple[str, ...]
    present: tuple[str, str]
    values: tuple[dict[str, str], dict[str, str]]
    apart: str


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """A FULL JOIN of two groupings on their keys becomes one grouping of the rows of both."""
    for select in selects(query):
        joins = joins_of(select)
        if len(joins) != 1 or joins[0].side != "FULL" or not readable(select):
            continue
        pairs = [column_pair(part, select) for part in conjuncts(joins[0].args.get("on"))]
        left, right = relations(select)
        keys = []
        for pair in pairs:
            if pair is None:
                break
            keys.append(pair if pair[0].table == relation_name(left) else pair[::-1])
        if not keys or len(keys) != len(pairs):
            continue
        if any(facts.type(one).is_type("unknown") or facts.type(one) != facts.type(other) for one, other in keys):
            continue
        if any(_ambiguous(facts.type(one)) for one, _ in keys):
            continue
        sides = (
            _side(query, select, left, [one.name for one, _ in keys], facts),
            _side(query, select, right, [other.name for _, other in keys], facts),
        )
        if sides[0] is not None and sides[1] is not None:
            rewritten = _rewritten(query, select, (sides[0], sides[1]), facts)
            if rewritten is not None:
                yield rewritten


def _ambiguous(type_: exp.DataType) -> bool:
    """Whether there are several values of a type that are equal but look different, as 1.0 and 1.00."""
    return type_.is_type("float", "double", "interval") or (type_.is_type("decimal") and not type_.expressions)


def _side(query: exp.Query, select: exp.Select, item: exp.Expr, key_names: list[str], facts: Facts) -> _Side | None:
    body = facts.definition(item)
    alias = item.args.get("alias")
    cte = find_cte(item)
    if not isinstance(body, exp.Select) or (alias is not None and alias.columns):
        return None
    if cte is not None:
        clause = cte.parent
        assert isinstance(clause, exp.With)
        if clause.args.get("recursive") or cte.args["alias"].columns or len(references(query, cte)) != 1:
            return None
    if any(body.args.get(clause) for clause in _NO) or grouping_sets(body) or multiplies(body):
        return None
    if not facts.deterministic(body):
        return None
    group = body.args.get("group")
    outputs = {output.alias_or_name: output.unalias() for output in body.selects}
    if group is None or len(outputs) != len(body.selects) or not all(name in outputs for name in key_names):
        return None
    grouped = {key.sql() for key in group.expressions}
    keys = tuple(outputs[name] for name in key_names)
    if {key.sql() for key in keys} != grouped or any(isinstance(key, exp.Literal) for key in group.expressions):
        return None
    values: dict[str, exp.AggFunc] = {}
    for node in uses(select, relation_name(item)):
        value = outputs.get(node.name)
        if node.name in key_names:
            continue
        if not isinstance(value, _AGGREGATES) or value.expressions or isinstance(value.this, exp.Distinct):
            return None
        if value.find(exp.Query) is not None:
            return None
        values[node.name] = value
    return _Side(relation_name(item), body, keys, tuple(key_names), values)


def _rewritten(query: exp.Query, select: exp.Select, sides: tuple[_Side, _Side], facts: Facts) -> exp.Query | None:
    # NULL finds no partner in a join, but NULLs are grouped together: such groups are kept apart by their side.
    both = [
        at
        for at, (one, other) in enumerate(zip(sides[0].keys, sides[1].keys, strict=True))
        if facts.nullable(one) and facts.nullable(other)
    ]
    names = _names(sides)
    joined, union = fresh_name(query, "joined"), fresh_name(query, "rows_of_both")
    copy, (site,) = copied(query, select)
    assert isinstance(site, exp.Select)
    _read_groups(site, sides, names, joined)
    branches = [_branch(sides, number, names, both) for number in (0, 1)]
    rows = exp.Union(this=branches[0], expression=branches[1], distinct=False)
    grouped = _grouped(sides, names, union, bool(both))
    grouped.set("from_", exp.From(this=derived(rows, union)))
    gone = [cte for item in relations(site) if (cte := find_cte(item)) is not None]
    before = [find_cte(table) for side in sides for table in side.body.find_all(exp.Table)]
    site.set("from_", exp.From(this=derived(grouped, joined)))
    site.set("joins", None)
    after = [find_cte(table) for branch in branches for table in branch.find_all(exp.Table)]
    if [_text(cte) for cte in before] != [_text(cte) for cte in after]:
        return None  # a name means another relation here than where the grouping stood
    for cte in gone:
        remove(cte)
    return copy


def _names(sides: tuple[_Side, _Side]) -> _Names:
    taken: set[str] = set()

    def new(stem: str) -> str:
        name = fresh_name(exp.select(), stem, taken)
        taken.add(name)
        return name

    keys = tuple(new(name) for name in sides[0].key_names)
    present = (new(f"in_{sides[0].name}"), new(f"in_{sides[1].name}"))
    first, second = ({value: new(f"{side.name}_{value}") for value in side.values} for side in sides)
    return _Names(keys, present, (first, second), new("apart"))


def _branch(sides: tuple[_Side, _Side], number: int, names: _Names, apart: Sequence[int]) -> exp.Select:
    """The ungrouped rows of one side, with NULL for all that the other side has."""
    side = sides[number]
    branch = side.body.copy()
    for clause in ("group", "order"):
        branch.set(clause, None)
    outputs = [exp.alias_(key.copy(), identifier(name)) for key, name in zip(side.keys, names.keys, strict=True)]
    for which, present in enumerate(names.present):
        mark: exp.Expr = exp.Literal.number(1) if which == number else exp.Null()
        outputs.append(exp.alias_(mark, identifier(present)))
        for value, name in names.values[which].items():
            counted = side.values[value].this if which == number else exp.Null()
            if isinstance(counted, exp.Star):
                counted = exp.Literal.number(1)
            outputs.append(exp.alias_(counted.copy(), identifier(name)))
    if apart:
        missing = disjunction(exp.Is(this=side.keys[at].copy(), expression=exp.Null()) for at in apart)
        assert missing is not None
        case = exp.Case(ifs=[exp.If(this=missing, true=exp.Literal.number(number + 1))])
        outputs.append(exp.alias_(case, identifier(names.apart)))
    branch.set("expressions", outputs)
    return branch


def _grouped(sides: tuple[_Side, _Side], names: _Names, union: str, apart: bool) -> exp.Select:
    outputs = [exp.alias_(column(union, name), identifier(name)) for name in names.keys]
    for side, present, values in zip(sides, names.present, names.values, strict=True):
        outputs.append(exp.alias_(exp.Max(this=column(union, present)), identifier(present)))
        for value, name in values.items():
            call: exp.Expr = type(side.values[value])(this=column(union, name))
            if isinstance(call, exp.Count):  # no rows count as nothing here, and as NULL behind a FULL JOIN
                call = _if_present(exp.Max(this=column(union, present)), call)
            outputs.append(exp.alias_(call, identifier(name)))
    keys = [column(union, name) for name in (*names.keys, *([names.apart] if apart else []))]
    grouped = exp.Select(expressions=outputs)
    grouped.set("group", exp.Group(expressions=keys))
    return grouped


def _if_present(present: exp.Expr, value: exp.Expr) -> exp.Case:
    return exp.Case(ifs=[exp.If(this=exp.EQ(this=present, expression=exp.Literal.number(1)), true=value)])


def _read_groups(site: exp.Select, sides: tuple[_Side, _Side], names: _Names, joined: str) -> None:
    """Make the SELECT read the groups, in place; its FROM is left as it is."""
    condition = joins_of(site)[0].args["on"]
    passed = {id(node) for node in condition.find_all(exp.Column)}
    whole: dict[int, exp.Expr] = {}
    for coalesce in site.find_all(exp.Coalesce):
        parts = [coalesce.this, *coalesce.expressions]
        if len(parts) == 2 and all(isinstance(part, exp.Column) for part in parts):
            found = {(part.table, part.name) for part in parts}
            for at, key in enumerate(names.keys):
                pair = {(side.name, side.key_names[at]) for side in sides}
                own = {id(used) for side in sides for used in uses(site, side.name)}
                if found == pair and all(id(part) in own for part in parts):
                    whole[id(coalesce)] = column(joined, key)
                    passed |= {id(part) for part in parts}
                    break
    for side, present, values in zip(sides, names.present, names.values, strict=True):
        for node in uses(site, side.name):
            if id(node) in passed:
                continue
            if node.name in side.key_names:
                key = names.keys[side.key_names.index(node.name)]
                node.replace(_if_present(column(joined, present), column(joined, key)))
            else:
                node.replace(column(joined, values[node.name]))
    for call in list(site.find_all(exp.Coalesce)):
        if id(call) in whole:
            call.replace(whole[id(call)])


def _text(cte: exp.CTE | None) -> str:
    return "" if cte is None else cte.sql()
