"""Executable form of unread_cte_removed.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.cte.placing import remove
from rules.facts import Facts
from rules.sites import copied, references


def rewrites(query: exp.Query, _: Facts) -> Iterator[exp.Query]:
    """All CTEs that nobody reads are taken out, together."""
    unread = [
        cte
        for clause in query.find_all(exp.With)
        if not clause.args.get("recursive")
        for cte in clause.expressions
        if isinstance(cte.this, exp.Query) and not references(query, cte)
    ]
    if not unread:
        return
    copy, sites = copied(query, *unread)
    for site in sites:
        remove(site)
    yield copy
