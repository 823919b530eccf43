"""The rung ``shape``: do two queries return columns of the same number, names and kinds of type?"""

from __future__ import annotations

import re

from sqlglot import exp

from rewriter.records import Result

# Types within a family differ in width or precision only; values decide whether that matters.
_FAMILIES = (
    ("number", r"(tiny|small|big|huge|u|ut|uh|us|ub)*(int|integer|inthuge)\d*|uhugeint|utinyint|usmallint|ubigint"),
    ("number", r"float\d*|double( precision)?|real|decimal.*|numeric.*|number"),
    ("text", r"varchar.*|char.*|bpchar.*|text|string|name|character.*|enum.*"),
    ("date", r"date"),
    ("timestamp", r"timestamp( without time zone)?(\(\d+\))?|timestamp_n?m?s|datetime"),
    ("timestamp with time zone", r"timestamptz|timestamp(\(\d+\))? with time zone"),
    ("time", r"time( without time zone)?|timetz|time with time zone"),
    ("boolean", r"bool(ean)?"),
    ("interval", r"interval.*"),
    ("bytes", r"blob|bytea"),
)


def family(type_name: str) -> str | None:
    """The family of an engine's type name; None when it has none here (arrays, JSON, untyped NULL)."""
    name = type_name.strip().strip('"').lower()
    for label, pattern in _FAMILIES:
        if re.fullmatch(pattern, name):
            return label
    return None


def stated_names(original: exp.Query) -> list[str | None]:
    """The names that the query itself gives its output columns; None where the engine makes one up. Empty: a star
    leaves it to the catalog."""
    projections = original.selects
    if any(projection.is_star for projection in projections):
        return []
    return [p.alias_or_name if isinstance(p, (exp.Alias, exp.Column)) else None for p in projections]


def differs(original: Result, candidate: Result, names: list[str | None] | None) -> str | None:
    """Why two results cannot come from equivalent queries, judged by their columns alone; None if nothing is wrong.

    ``names`` are those of ``stated_names``; None: compare neither names nor types, only the number of columns.
    """
    if len(original.columns) != len(candidate.columns):
        return f"the original returns {len(original.columns)} columns, the candidate {len(candidate.columns)}"
    if names is None:
        return None
    chosen = names if len(names) == len(original.columns) else [*original.columns]
    for number, (wanted, found) in enumerate(zip(chosen, candidate.columns, strict=True), start=1):
        if wanted is not None and wanted.lower() != found.lower():
            return f"column {number} is named {wanted} in the original and {found} in the candidate"
    for name, wanted, found in zip(original.columns, original.types, candidate.types, strict=True):
        one, other = family(wanted), family(found)
        if one is not None and other is not None and one != other:
            return f"column {name} is a {one} in the original and a {other} in the candidate"
    return None
