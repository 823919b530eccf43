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
    """A SELECT of aggregates without GROUP BY has one row, so a LIMIT picks nothing."""
    return (
        isinstance(query, exp.Select)
        and not query.args.get("group")
        and bool(query.expressions)
        and all(projection.find(exp.AggFunc) and not projection.find(exp.Window) for projection in query.expressions)
    )
