"""Window functions whose frame is a set of rows that peers share: aggregates over those rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from rewriter.verify.sums.aggregates import aggregate, total
from rewriter.verify.sums.rows import Row, Scope, distinct_rows
from rewriter.verify.sums.scalar import compared, node_value
from rewriter.verify.sums.sorts import Unsupported, require_identity, sort_of_expr, unified
from rewriter.verify.sums.substitution import refreshed_term, renamed_expr
from rewriter.verify.sums.terms import Bag, Call, Expr, Literal, every, negated, present, same, some


def window_value(node: exp.Window, here: Scope, placed: Sequence[tuple[Row, Scope]]) -> Expr:
    """A window function whose frame is a set of rows that peers share: an aggregate over those rows."""
    if node.args.get("alias") is not None or node.args.get("first") is not None:
        raise Unsupported("a named window")
    function = node.this
    partition = node.args.get("partition_by") or []
    order = node.args.get("order")
    keys = order.expressions if order is not None else []
    spec = node.args.get("spec")
    ranked = isinstance(function, (exp.Rank, exp.DenseRank)) or function.key in ("rank", "denserank")
    if spec is not None and not _default_frame(spec) and not ranked:
        raise Unsupported("a window frame")
    if not ranked and not isinstance(function, (exp.AggFunc, exp.Filter)):
        raise Unsupported(f"the window function {function.sql()}")
    if function.key in ("rownumber", "lag", "lead", "firstvalue", "lastvalue", "nthvalue", "ntile", "percentrank"):
        raise Unsupported(f"the window function {function.sql()}")
    others = []
    for row, scope in placed:
        other_row, other_scope = _another(row, scope)
        parts = [_alike(p, other_scope, here) for p in partition]
        if keys:
            parts.append(_before(keys, other_scope, here, peers=not ranked))
        others.append((other_row.with_condition(every(parts)), other_scope))
    if not ranked:
        return aggregate(function, others)
    one = Literal(1, "int")
    if isinstance(function, exp.Rank) or function.key == "rank":
        counted = total(Bag(tuple(row.term([one]) for row, _ in others)), "int")
    else:
        values = [row.term([node_value(key.this, scope) for key in keys]) for row, scope in others]
        distinct = distinct_rows(Bag(tuple(values)))
        counted = total(Bag(tuple(replace(term, outputs=(one,)) for term in distinct.terms)), "int")
    return Call("+", (counted, one), "int")


def _alike(key: exp.Expr, other: Scope, here: Scope) -> Expr:
    one, two = unified([node_value(key, other), node_value(key, here)])
    require_identity([sort_of_expr(one)])
    return same(one, two)


def _another(row: Row, scope: Scope) -> tuple[Row, Scope]:
    """The same row under new variables."""
    values = [value for _, columns in scope.relations for value in columns.values()]
    replaced = list(scope.replacements.values())
    term = refreshed_term(row.term([*values, *replaced]))
    outputs = iter(term.outputs)
    relations = tuple((alias, {name: next(outputs) for name in columns}) for alias, columns in scope.relations)
    replacements = {name: next(outputs) for name in scope.replacements}
    made = Row(term.variables, term.conditions, relations)
    names = dict(zip((v.id for v in row.variables), (v.id for v in term.variables), strict=True))
    aggregates = scope.aggregates
    inner = None
    if aggregates is not None:

        def inner(node: exp.Expr) -> Expr:
            return renamed_expr(aggregates(node), names)

    return made, replace(scope, relations=relations, replacements=replacements, aggregates=inner, windows=None)


def _default_frame(spec: exp.WindowSpec) -> bool:
    return (
        (spec.args.get("kind") or "RANGE").upper() == "RANGE"
        and str(spec.args.get("start") or "UNBOUNDED").upper() == "UNBOUNDED"
        and str(spec.args.get("start_side") or "PRECEDING").upper() == "PRECEDING"
        and str(spec.args.get("end") or "CURRENT ROW").upper() == "CURRENT ROW"
        and not spec.args.get("exclude")
    )


def _before(keys: Sequence[exp.Expr], other: Scope, here: Scope, *, peers: bool) -> Expr:
    """The other row stands before this one in the window's order, or beside it when ``peers`` count."""
    found: list[Expr] = []
    equal: list[Expr] = []
    for key in keys:
        one, two = unified([node_value(key.this, other), node_value(key.this, here)])
        descending, nulls_first = bool(key.args.get("desc")), bool(key.args.get("nulls_first"))
        less = compared(">" if descending else "<", one, two, wanted=True)
        first, last = (one, two) if nulls_first else (two, one)
        by_null = every([negated(present(first)), present(last)])
        found.append(every([*equal, some([less, by_null])]))
        require_identity([sort_of_expr(one)])
        equal.append(same(one, two))
    return some([*found, every(equal)]) if peers else some(found)
