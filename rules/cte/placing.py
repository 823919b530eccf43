"""Where new common table expressions go."""

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
