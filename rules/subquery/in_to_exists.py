"""Executable form of in_to_exists.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.facts import Facts
from rules.sites import copied
from rules.subquery.exists_to_in import filters
from rules.subquery.not_in_to_not_exists import captures, exists, plain_filter


def rewrites(query: exp.Query, _: Facts) -> Iterator[exp.Query]:
    """``x IN (SELECT y ... WHERE p)`` to ``EXISTS (... WHERE p AND y = x)`` in a filter."""
    for membership in query.find_all(exp.In):
        subquery = membership.args.get("query")
        outer = membership.find_ancestor(exp.Select)
        if not isinstance(subquery, exp.Subquery) or not isinstance(outer, exp.Select):
            continue
        if (
            not filters(membership, outer)
            or not plain_filter(subquery.this)
            or captures(membership.this, subquery.this)
        ):
            continue
        copy, (site,) = copied(query, membership)
        site.replace(exists(membership))
        yield copy
