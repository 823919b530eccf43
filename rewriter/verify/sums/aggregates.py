"""Aggregates over rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from rewriter.verify.sums.rows import Row, Scope, distinct_rows
from rewriter.verify.sums.scalar import node_value, truth
from rewriter.verify.sums.sorts import NULL, Unsupported, sort_of_expr, unified
from rewriter.verify.sums.substitution import refreshed
from rewriter.verify.sums.terms import FALSE, Aggregate, Bag, Call, Exists, Expr, Literal, null, present

_NAMES: dict[type[exp.Expr], str] = {
    exp.Min: "min",
    exp.Max: "max",
    exp.Avg: "avg",
    exp.LogicalAnd: "min",
    exp.LogicalOr: "max",
}
_STATISTICS = (exp.Stddev, exp.StddevSamp, exp.StddevPop, exp.Variance, exp.VariancePop)


def aggregate(node: exp.Expr, rows: Sequence[tuple[Row, Scope]]) -> Expr:
    """An aggregate over rows, each of which comes with what names mean there."""
    if isinstance(node, exp.Filter):
        condition = node.expression.this
        rows = [(row.with_condition(truth(condition, scope)), scope) for row, scope in rows]
        node = node.this
    argument = node.this
    distinct = isinstance(argument, exp.Distinct)
    if distinct:
        if len(argument.expressions) != 1:
            raise Unsupported("DISTINCT over several columns in an aggregate")
        argument = argument.expressions[0]
    if node.args.get("expressions") or isinstance(argument, (exp.Order, exp.HavingMax, exp.Limit)):
        raise Unsupported(f"the aggregate {node.sql()}")
    if isinstance(node, exp.CountIf):
        rows = [(row.with_condition(truth(argument, scope)), scope) for row, scope in rows]
        return total(Bag(tuple(row.term([Literal(1, "int")]) for row, _ in rows)), "int")
    if isinstance(node, exp.Count) and (argument is None or isinstance(argument, exp.Star)):
        return total(Bag(tuple(row.term([Literal(1, "int")]) for row, _ in rows)), "int")
    values = unified([node_value(argument, scope) for _, scope in rows])
    sort = sort_of_expr(values[0]) if values else NULL
    terms = [row.with_condition(present(value)).term([value]) for (row, _), value in zip(rows, values, strict=True)]
    bag = Bag(tuple(term for term in terms if FALSE not in term.conditions))
    if distinct:
        bag = distinct_rows(bag)
    bag = refreshed(bag)
    if isinstance(node, exp.Count):
        return total(Bag(tuple(replace(term, outputs=(Literal(1, "int"),)) for term in bag.terms)), "int")
    if not bag.terms:
        return null(sort)
    if isinstance(node, exp.Sum) and sort in ("int", "num"):
        filled = total(bag, sort)
        found = Exists(refreshed(Bag(tuple(replace(term, outputs=()) for term in bag.terms))))
        return Call("case", (found, filled, null(sort)), sort)
    if isinstance(node, exp.Sum):
        if sort != "float":
            raise Unsupported(f"SUM of {sort}")
        return Aggregate("sum", bag, "float")
    if isinstance(node, _STATISTICS):
        return Aggregate(node.key, bag, "float")
    name = _NAMES.get(type(node))
    if name is None:
        raise Unsupported(f"the aggregate {node.sql()}")
    if name == "avg":
        sort = "num" if sort in ("int", "num") and rows[0][1].dialect == "postgres" else "float"
    return Aggregate(name, bag, sort)


def total(bag: Bag, sort: str) -> Expr:
    """The sum over a bag whose outputs are never NULL; 0 over no rows."""
    bag = refreshed(Bag(tuple(term for term in bag.terms if FALSE not in term.conditions)))
    return Aggregate("total", bag, sort) if bag.terms else Literal(0, sort)
