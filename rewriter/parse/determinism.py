"""Why the result of a query is not determined by its data alone, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rewriter.parse.functions import RANDOM, called, names

_CLOCK = frozenset({"now", "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "today"})
_CLOCK |= {"statement_timestamp", "transaction_timestamp", "get_current_timestamp"}
_ORDERED = frozenset(
    {"string_agg", "array_agg", "group_concat", "listagg", "json_agg", "jsonb_agg", "list", "first", "last"}
)
_RANKS = (exp.RowNumber, exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue, exp.NthValue, exp.Ntile)


def reasons(tree: exp.Query) -> tuple[str, ...]:
    """Each reason once, in the order of a walk through the tree; empty for most queries."""
    return tuple(dict.fromkeys(_reasons(tree)))


def clock(tree: exp.Query) -> bool:
    """Whether the result depends on the time of the run."""
    return (
        any(names(node)[1] in _CLOCK for node in called(tree))
        or tree.find(exp.CurrentDate, exp.CurrentTimestamp) is not None
    )


def _reasons(tree: exp.Query) -> Iterator[str]:
    for node in tree.walk():
        if isinstance(node, exp.TableSample):
            yield "TABLESAMPLE picks rows at random"
        elif isinstance(node, exp.Query) and (node.args.get("limit") or node.args.get("offset")):
            if not node.args.get("order") and not _one_row(node):
                yield "LIMIT without ORDER BY picks any rows"
        elif isinstance(node, exp.Distinct) and node.args.get("on") and not _order_of(node):
            yield "DISTINCT ON without ORDER BY picks any row of each group"
        elif isinstance(node, exp.Window) and isinstance(node.this, _RANKS) and not node.args.get("order"):
            yield "a window function without ORDER BY numbers rows in any order"
    for function in called(tree):
        name = names(function)[1]
        if name in RANDOM or isinstance(function, (exp.Rand, exp.Uuid)):
            yield f"{name}() returns another value each time"
        elif name in _CLOCK or isinstance(function, (exp.CurrentDate, exp.CurrentTimestamp)):
            yield "it depends on the time of the run"
        elif name in _ORDERED and not function.find(exp.Order) and not isinstance(function.parent, exp.WithinGroup):
            yield f"{name} without ORDER BY puts values together in any order"


def _order_of(node: exp.Expr) -> exp.Expr | None:
    parent = node.parent
    return parent.args.get("order") if parent is not None else None


def _one_row(query: exp.Query) -> bool:
    """Whether the query has at most one row without its LIMIT: aggregates without GROUP BY, or a SELECT from nothing
    but such queries."""
    if not isinstance(query, exp.Select) or query.args.get("group"):
        return False
    if any(
        output.find(exp.AggFunc) and not output.find(exp.Window, exp.Query, exp.Explode) for output in query.selects
    ):
        return True
    joins = query.args.get("joins") or []
    sources = [query.args["from_"].this] if query.args.get("from_") else []
    sources += [join.this for join in joins]
    if query.args.get("laterals") or any(output.find(exp.UDTF, exp.Anonymous) for output in query.selects):
        return False
    return all(
        isinstance(source, exp.Subquery) and isinstance(source.this, exp.Query) and _one_row(source.this)
        for source in sources
    )
