"""Ties that a query decides arbitrarily inside: the same query with every such choice made at random.

Running that twin a few times tells whether the original's answer on a database hangs on the choice. Other physical row
orders alone do not: a plan may break ties by something else than the order of rows, a hash or the side of a join.
The ORDER BY of the whole query is no concern here (see ``reference``).
"""

from __future__ import annotations

from sqlglot import exp

# Window functions whose answer for a row depends on the order among peers, and that stay what they are when the window
# is ordered by one more key. RANK and the like treat peers alike, and a further key would change their meaning.
_POSITIONAL = (exp.RowNumber, exp.Lag, exp.Lead, exp.Ntile, exp.FirstValue, exp.NthValue)
_COLLECTING = (exp.ArrayAgg, exp.GroupConcat, exp.First, exp.Last)


def shaken(query: exp.Query) -> exp.Query | None:
    """``query`` with a random last key in every place where ties are decided arbitrarily; None if it has none."""
    copy = query.copy()
    found = False
    for node in list(copy.walk()):
        limited = isinstance(node, exp.Query) and bool(node.args.get("limit") or node.args.get("offset"))
        if (
            (limited and node is not copy)
            or (isinstance(node, exp.Select) and _distinct_on(node))
            or (isinstance(node, exp.Window) and _hangs_on_order(node))
        ):
            found = _shake(node) or found
        elif isinstance(node, _COLLECTING):
            inner = node.this
            if isinstance(inner, exp.Order):
                inner.append("expressions", _random_key())
            elif isinstance(inner, exp.Expr) and not isinstance(inner, (exp.Distinct, exp.Limit)):
                node.set("this", exp.Order(this=inner.copy(), expressions=[_random_key()]))
            else:
                continue
            found = True
    return copy if found else None


def _distinct_on(select: exp.Select) -> bool:
    distinct = select.args.get("distinct")
    return distinct is not None and distinct.args.get("on") is not None


def _hangs_on_order(window: exp.Window) -> bool:
    function = window.this
    while isinstance(function, (exp.IgnoreNulls, exp.RespectNulls, exp.Filter)):
        function = function.this
    if isinstance(function, _POSITIONAL):
        return True
    frame = window.args.get("spec")
    return frame is not None and str(frame.args.get("kind") or "").upper() == "ROWS"


def _shake(node: exp.Expr) -> bool:
    if isinstance(node, exp.SetOperation) or (
        isinstance(node, exp.Select) and node.args.get("distinct") is not None and not _distinct_on(node)
    ):
        return False  # only output columns may order these
    order = node.args.get("order")
    if order is None:
        node.set("order", exp.Order(expressions=[_random_key()]))
    else:
        order.append("expressions", _random_key())
    return True


def _random_key() -> exp.Ordered:
    return exp.Ordered(this=exp.Rand())
