"""Executable form of order_by_in_subquery_removed.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.build import aggregates
from rules.facts import Facts
from rules.sites import copied, references

# Aggregates that come out the same in whatever order they read their rows.
_UNORDERED = (exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max, exp.LogicalAnd, exp.LogicalOr)
_EXACT = (
    exp.DataType.Type.TINYINT,
    exp.DataType.Type.SMALLINT,
    exp.DataType.Type.INT,
    exp.DataType.Type.BIGINT,
    exp.DataType.Type.INT128,
    exp.DataType.Type.DECIMAL,
)


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """ORDER BY goes from nested queries whose order nobody can see, from all of them at once."""
    found = [
        inner
        for inner in query.find_all(exp.Select, exp.SetOperation)
        if inner.args.get("order") and inner is not query and _idle(inner, facts) and _unseen(query, inner, facts)
    ]
    if found:
        copy, sites = copied(query, *found)
        for site in sites:
            site.set("order", None)
        yield copy


def _idle(inner: exp.Expr, facts: Facts) -> bool:
    """Whether ORDER BY says nothing but the order: it does not choose rows for LIMIT or DISTINCT ON."""
    if any(inner.args.get(clause) for clause in ("limit", "offset")):
        return False
    if (inner.args.get("distinct") and isinstance(inner, exp.Select)) and inner.args["distinct"].args.get("on"):
        return False
    return facts.deterministic(inner)


def _unseen(query: exp.Query, inner: exp.Expr, facts: Facts) -> bool:
    """Whether the order of the rows of a nested query has no effect on anything, the order of the result included."""
    above = inner.parent
    if inner is query or above is None:
        return False
    if isinstance(above, exp.Exists):
        return True
    if isinstance(above, exp.CTE):
        clause = above.parent
        if not isinstance(clause, exp.With) or clause.args.get("recursive"):
            return False
        return all(_absorbed(query, reference, facts) for reference in references(query, above))
    if isinstance(above, exp.Subquery):
        if any(above.args.get(clause) for clause in ("order", "limit", "offset", "with_", "sample")):
            return False
        if isinstance(above.parent, exp.In):
            return above.arg_key == "query"
        if isinstance(above.parent, (exp.From, exp.Join)):
            return _absorbed(query, above, facts)
        above = above.parent
    if isinstance(above, exp.SetOperation):
        ordered = bool(above.args.get("order"))
        if not ordered and any(above.args.get(clause) for clause in ("limit", "offset")):
            return False
        return ordered or bool(above.args.get("distinct")) or _unseen(query, above, facts)
    return False


def _absorbed(query: exp.Query, item: exp.Expr, facts: Facts) -> bool:
    """Whether the SELECT that reads a FROM/JOIN item loses its order or hands it on to one that does."""
    reader = item.parent.parent if isinstance(item.parent, (exp.From, exp.Join)) else None
    if not isinstance(reader, exp.Select) or not _insensitive(reader, item, facts):
        return False
    if reader.args.get("order"):
        return True
    if any(reader.args.get(clause) for clause in ("limit", "offset")):
        return False
    grouped = reader.args.get("group") or any(aggregates(output) for output in reader.expressions)
    return bool(grouped or reader.args.get("distinct")) or _unseen(query, reader, facts)


def _insensitive(reader: exp.Select, item: exp.Expr, facts: Facts) -> bool:
    """Whether what the SELECT computes does not depend on the order in which it reads the rows."""
    if reader.args.get("qualify") or reader.args.get("windows") or reader.args.get("laterals"):
        return False
    if (reader.args.get("distinct") or exp.Distinct()).args.get("on") or item.args.get("sample"):
        return False
    for clause in ("expressions", "having", "order"):
        parts = reader.args.get(clause) or []
        for part in parts if isinstance(parts, list) else [parts]:
            for node in part.walk(prune=lambda inner: isinstance(inner, exp.Query)):
                if isinstance(node, (exp.Anonymous, exp.RowNumber)):
                    return False
                if isinstance(node, exp.AggFunc) and not _unordered(node, facts):
                    return False
                if isinstance(node, exp.Window) and not _whole(node):
                    return False
    return True


def _unordered(call: exp.AggFunc, facts: Facts) -> bool:
    if isinstance(call, (exp.Rank, exp.DenseRank)):
        return isinstance(call.parent, exp.Window)
    if not isinstance(call, _UNORDERED) or isinstance(call.parent, (exp.IgnoreNulls, exp.RespectNulls)):
        return False
    if len(call.expressions) > 0:  # the second argument of MIN and MAX in DuckDB: how many
        return False
    if not isinstance(call, (exp.Sum, exp.Avg)):
        return True
    # A sum of floating numbers depends on their order in its last digits.
    argument = call.this.expressions[0] if isinstance(call.this, exp.Distinct) else call.this
    return isinstance(argument, exp.Expr) and facts.type(argument).this in _EXACT


def _whole(window: exp.Window) -> bool:
    """Whether a window function gives equal rows equal values: no frame that counts rows, no numbering of them."""
    return not window.args.get("alias") and not window.args.get("spec")
