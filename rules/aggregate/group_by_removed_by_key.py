"""Executable form of group_by_removed_by_key.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules import core as cores
from rules.aggregate.rows import MULTIPLYING, aggregates_from_within, told_apart
from rules.build import conjuncts, set_where
from rules.facts import Facts
from rules.sites import copied, grouping_sets, selects

_SMALL = (exp.DataType.Type.TINYINT, exp.DataType.Type.SMALLINT, exp.DataType.Type.INT)
_ORDERED = (
    *_SMALL,
    exp.DataType.Type.BIGINT,
    exp.DataType.Type.DECIMAL,
    exp.DataType.Type.TEXT,
    exp.DataType.Type.VARCHAR,
    exp.DataType.Type.DATE,
    exp.DataType.Type.TIMESTAMP,
    exp.DataType.Type.TIMESTAMPTZ,
)
# Nodes of an expression whose type follows from the columns in it.
_SURE = (
    exp.Identifier,
    exp.Add,
    exp.Sub,
    exp.Mul,
    exp.Neg,
    exp.Paren,
    exp.Case,
    exp.If,
    exp.Null,
    exp.EQ,
    exp.NEQ,
    exp.GT,
    exp.GTE,
    exp.LT,
    exp.LTE,
    exp.Is,
    exp.In,
    exp.Between,
    exp.And,
    exp.Or,
    exp.Not,
)


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """GROUP BY goes where every group is one row; an aggregate of one row is its argument."""
    for select in selects(query):
        group = select.args.get("group")
        if group is None or not group.expressions or grouping_sets(select):
            continue
        if (select.args.get("distinct") or exp.Distinct()).args.get("on") or select.args.get("windows"):
            continue
        if aggregates_from_within(select):
            continue
        # An unknown function may be an aggregate.
        if any(part.find(*MULTIPLYING, exp.Grouping) is not None for part in cores.around(select)):
            continue
        if not told_apart(query, select, [key for key in group.expressions if isinstance(key, exp.Column)], facts):
            continue
        calls = cores.own_aggregates(select)
        values = [_value(call, facts) for call in calls]
        if any(value is None for value in values):
            continue
        copy, (site, *places) = copied(query, select, *map(_whole, calls))
        assert isinstance(site, exp.Select)
        for place, value in zip(places, values, strict=True):
            assert value is not None
            place.replace(exp.Paren(this=value) if _tight(place, value) else value)
        site.set("group", None)
        having = site.args.get("having")
        if having is not None:
            site.set("having", None)
            set_where(site, [*conjuncts(site.args.get("where")), *conjuncts(having)])
        yield copy


def _whole(call: exp.AggFunc) -> exp.Expr:
    """An aggregate call with the FILTER behind it."""
    above = call.parent
    return above if isinstance(above, exp.Filter) and above.this is call else call


def _tight(place: exp.Expr, value: exp.Expr) -> bool:
    """Whether brackets are needed around what takes the place of a call."""
    return isinstance(value, exp.Binary) and not isinstance(place.parent, (exp.Alias, exp.Ordered, exp.Paren))


def _value(call: exp.AggFunc, facts: Facts) -> exp.Expr | None:
    """What an aggregate gives over one row, in the same type; None when it is not known."""
    if call.expressions or call.args.get("order") or call.find(exp.Query, exp.Window, exp.Order) is not None:
        return None
    if len(list(call.find_all(exp.AggFunc))) > 1 or isinstance(call.parent, (exp.WithinGroup, exp.IgnoreNulls)):
        return None
    argument = call.this
    if isinstance(argument, exp.Distinct):
        if argument.args.get("on") or len(argument.expressions) != 1:
            return None
        argument = argument.expressions[0]
    if not isinstance(argument, exp.Expr):
        return None
    whole = _whole(call)
    condition = whole.expression.this if isinstance(whole, exp.Filter) else None
    if condition is not None and condition.find(exp.Query) is not None:
        return None
    if isinstance(call, exp.Count):
        return _counted(argument, condition, facts)
    kind = facts.type(argument)
    value = argument.copy()
    if condition is not None:
        value = exp.Case(ifs=[exp.If(this=condition.copy(), true=value)])
    if isinstance(call, (exp.Min, exp.Max)):
        if kind.this not in _ORDERED:
            return None
        return exp.cast(value, "TEXT") if facts.dialect == "postgres" and kind.is_type("varchar") else value
    if isinstance(call, exp.Sum):
        return _summed(value, argument, facts)
    if isinstance(call, exp.Avg) and kind.this in (*_SMALL, exp.DataType.Type.BIGINT) and _sure(argument, facts):
        if facts.dialect == "duckdb":
            return exp.cast(value, "DOUBLE")
        # The division gives the number of digits that AVG has.
        return exp.Div(this=exp.cast(value, "DECIMAL"), expression=exp.Literal.number(1))
    return None


def _counted(argument: exp.Expr, condition: exp.Expr | None, facts: Facts) -> exp.Expr:
    some: list[exp.Expr] = [condition.copy()] if condition is not None else []
    if not isinstance(argument, exp.Star) and facts.nullable(argument):
        some.append(exp.Not(this=exp.Is(this=_bracketed(argument), expression=exp.Null())))
    one: exp.Expr = exp.Literal.number(1)
    if some:
        both = some[0] if len(some) == 1 else exp.And(this=_bracketed(some[0]), expression=some[1])
        one = exp.Case(ifs=[exp.If(this=both, true=one)], default=exp.Literal.number(0))
    return exp.cast(one, "BIGINT")


def _bracketed(part: exp.Expr) -> exp.Expr:
    return exp.Paren(this=part.copy()) if isinstance(part, (exp.Binary, exp.Not, exp.Between)) else part.copy()


def _summed(value: exp.Expr, argument: exp.Expr, facts: Facts) -> exp.Expr | None:
    """``value`` in the type that SUM has over values of the argument; sums of floating numbers are left alone."""
    kind = facts.type(argument)
    if not _sure(argument, facts):
        return None
    if facts.dialect == "postgres":
        if kind.this is exp.DataType.Type.DECIMAL:
            return value
        name = "BIGINT" if kind.this in _SMALL else "DECIMAL" if kind.this is exp.DataType.Type.BIGINT else ""
        return exp.cast(value, name) if name else None
    if kind.this in (*_SMALL, exp.DataType.Type.BIGINT):
        return exp.cast(value, "INT128", dialect="duckdb")
    digits = [part.name for part in kind.expressions]
    if kind.this is exp.DataType.Type.DECIMAL and len(digits) == 2 and isinstance(argument, exp.Column):
        # The digits behind the point stay; DuckDB gives a sum 38 digits in all.
        return exp.cast(value, f"DECIMAL(38, {digits[1]})")
    return None


def _sure(argument: exp.Expr, facts: Facts) -> bool:
    """Whether the type of a number can be told from those of table columns alone: what a division or a function gives
    is another matter in every engine."""
    for node in argument.walk():
        if isinstance(node, exp.Column):
            found = facts.source(node)
            if found is None:
                return False
            if facts.table(found[0]) is None:
                inner = facts.definition(found[0])
                alias = found[0].args.get("alias")
                if not isinstance(inner, exp.Select) or (alias is not None and alias.columns):
                    return False
                outputs = [output.unalias() for output in inner.selects if output.alias_or_name == node.name]
                if len(outputs) != 1 or not (isinstance(outputs[0], exp.Count) or _sure(outputs[0], facts)):
                    return False
        elif isinstance(node, exp.Literal):
            if not node.is_string and not (node.name.isdigit() and int(node.name) < 2**31):
                return False
        elif not isinstance(node, _SURE):
            return False
    return True
