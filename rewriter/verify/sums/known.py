"""Which parts of a syntax tree the translation understands. A clause or flag that is not listed stops the proof: a
parser that learns new syntax must not make the translation overlook it."""

from __future__ import annotations

from sqlglot import exp

from rewriter.verify.sums.sorts import Unsupported

_BINARY = "this expression"
_UNDERSTOOD: dict[type[exp.Expr], str] = {
    exp.Add: _BINARY,
    exp.Alias: "this alias",
    exp.All: "this",
    exp.And: _BINARY,
    exp.Any: "this",
    exp.Avg: "this",
    exp.Between: "this low high symmetric",
    exp.Boolean: "this",
    exp.CTE: "this alias materialized",
    exp.Case: "this ifs default",
    exp.Cast: "this to",
    exp.Coalesce: "this expressions is_nvl is_null",
    exp.Column: "this table db",
    exp.Count: "this expressions big_int",
    exp.CountIf: "this",
    exp.Cube: "expressions",
    exp.Distinct: "expressions on",
    exp.EQ: _BINARY,
    exp.Except: "with_ this expression distinct by_name order limit offset",
    exp.Exists: "this",
    exp.Filter: "this expression",
    exp.From: "this",
    exp.GT: _BINARY,
    exp.GTE: _BINARY,
    exp.Group: "expressions rollup cube grouping_sets all totals",
    exp.Grouping: "expressions",
    exp.GroupingSets: "expressions",
    exp.Having: "this",
    exp.Identifier: "this quoted",
    exp.If: "this true false",
    exp.In: "this expressions query unnest field",
    exp.Intersect: "with_ this expression distinct by_name order limit offset",
    exp.Is: "this expression negate",
    exp.Join: "this side kind on using method",
    exp.LT: _BINARY,
    exp.LTE: _BINARY,
    exp.Lateral: "this alias view outer",
    exp.Limit: "expression",
    exp.Literal: "this is_string",
    exp.LogicalAnd: "this",
    exp.LogicalOr: "this",
    exp.Max: "this expressions",
    exp.Min: "this expressions",
    exp.Mul: _BINARY,
    exp.NEQ: _BINARY,
    exp.Neg: "this",
    exp.Not: "this",
    exp.NullSafeEQ: _BINARY,
    exp.NullSafeNEQ: _BINARY,
    exp.Nullif: _BINARY,
    exp.Offset: "expression",
    exp.Or: _BINARY,
    exp.Order: "expressions",
    exp.Ordered: "this desc nulls_first",
    exp.Paren: "this",
    exp.Qualify: "this",
    exp.Rollup: "expressions",
    exp.Select: "with_ expressions from_ joins where group having qualify distinct order limit offset",
    exp.Star: "",
    exp.Stddev: "this",
    exp.StddevPop: "this",
    exp.StddevSamp: "this",
    exp.Sub: _BINARY,
    exp.Subquery: "this alias with_ joins order limit offset",
    exp.Sum: "this",
    exp.Table: "this alias db joins",
    exp.TableAlias: "this columns",
    exp.Tuple: "expressions",
    exp.Union: "with_ this expression distinct by_name order limit offset",
    exp.Values: "expressions alias",
    exp.Variance: "this",
    exp.VariancePop: "this",
    exp.Where: "this",
    exp.Window: "this partition_by order spec over",
    exp.WindowSpec: "kind start start_side end end_side",
    exp.With: "expressions recursive",
}
_ARGUMENTS = {kind: frozenset(names.split()) for kind, names in _UNDERSTOOD.items()}


def check(tree: exp.Expr) -> None:
    """Raises Unsupported for a part of the tree that the translation would overlook. Functions that are not listed are
    translated with all they have."""
    for node in tree.walk():
        understood = _ARGUMENTS.get(type(node))
        if understood is None:
            continue
        for name, value in node.args.items():
            if value not in (None, False, []) and name not in understood:
                raise Unsupported(f"{node.key} with {name}")
