"""Which clause makes two queries differ: put the original's clause into the candidate and look whether they agree."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

MOST_TRIED = 16
_CLAUSES: dict[str, tuple[str, ...]] = {
    "the join of tables (FROM)": ("from_", "joins", "laterals"),
    "the WHERE clause": ("where",),
    "the GROUP BY clause": ("group",),
    "the HAVING clause": ("having",),
    "the QUALIFY clause": ("qualify",),
    "DISTINCT": ("distinct",),
    "the select list": ("expressions",),
    "ORDER BY": ("order",),
    "LIMIT": ("limit", "offset"),
}


def exchanged(original: exp.Query, candidate: exp.Query) -> Iterator[tuple[str, exp.Query]]:
    """The candidate with one of its clauses taken from the original, and which; only where the two have SELECTs one to
    one."""
    ours, theirs = (list(query.find_all(exp.Select)) for query in (original, candidate))
    if len(ours) != len(theirs):
        return
    for at, (mine, yours) in reversed(list(enumerate(zip(ours, theirs, strict=True)))):  # inner queries first
        for name, keys in _CLAUSES.items():
            if all(mine.args.get(key) == yours.args.get(key) for key in keys):
                continue
            made = candidate.copy()
            place = list(made.find_all(exp.Select))[at]
            for key in keys:
                place.set(key, _copied(mine.args.get(key)))
            where = "" if yours is candidate else " of an inner query"
            yield f"{name}{where}", made


def _copied(part: object) -> object:
    if isinstance(part, list):
        return [_copied(one) for one in part]
    return part.copy() if isinstance(part, exp.Expr) else part
