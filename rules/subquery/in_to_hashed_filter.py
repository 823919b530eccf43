"""Executable form of in_to_hashed_filter.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.build import conjuncts
from rules.facts import Facts
from rules.sites import copied, outer_columns, selects


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """An uncorrelated IN becomes a filter of its own by IS TRUE."""
    for select in selects(query):
        for part in conjuncts(select.args.get("where")):
            if isinstance(part, exp.In) and _uncorrelated(part.args.get("query")) and facts.deterministic(part):
                copy, (place,) = copied(query, part)
                fence = exp.Is(this=exp.Paren(this=exp.Null()), expression=exp.true())
                place.replace(fence)
                fence.this.set("this", place)
                yield copy


def _uncorrelated(inner: exp.Expr | None) -> bool:
    body = inner.this if isinstance(inner, exp.Subquery) else inner
    return isinstance(body, exp.Query) and not outer_columns(body)
