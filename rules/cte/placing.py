"""Where new common table expressions go, and how those that nothing reads any more are taken away."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp


def add_in_front(query: exp.Query, ctes: Sequence[exp.CTE]) -> None:
    """Put ``ctes`` before all others of the outermost WITH clause, in place, so that every other CTE may read them."""
    clause = query.args.get("with_")
    if clause is None:
        query.set("with_", exp.With(expressions=list(ctes)))
    else:
        clause.set("expressions", [*ctes, *clause.expressions])


def remove(cte: exp.Expr) -> None:
    """Take a CTE that nothing reads any more out of its WITH clause, in place."""
    clause = cte.parent
    assert isinstance(clause, exp.With)
    rest = [other for other in clause.expressions if other is not cte]
    if rest:
        clause.set("expressions", rest)
    else:
        assert clause.parent is not None
        clause.parent.set("with_", None)
