"""What the joined rows of a SELECT are worth to DISTINCT and GROUP BY: which columns tell them apart."""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from rules.core import around
from rules.facts import Facts
from rules.sites import copied, owner, relation_name, relations

# Functions that may give several rows for one: those that are known to, and all that are not known.
MULTIPLYING = (exp.Anonymous, exp.UDTF, exp.GenerateSeries, exp.ExplodingGenerateSeries, exp.Explode)


def plain_relations(select: exp.Select) -> bool:
    """Whether the SELECT's relations are tables and derived tables of different names, without LATERAL, brackets around
    joins or columns merged by USING: what ``Facts.keys`` says of them is then about all of them."""
    names = [relation_name(item) for item in relations(select)]
    return (
        bool(names)
        and all(names)
        and len(set(names)) == len(names)
        and not select.args.get("laterals")
        and all(
            isinstance(item, (exp.Table, exp.Subquery)) and not any(item.args.get(key) for key in ("joins", "pivots"))
            for item in relations(select)
        )
        and not any(
            join.args.get("using") or join.args.get("method") or join.kind not in ("", "CROSS", "INNER", "OUTER")
            for join in select.args.get("joins") or []
        )
    )


def multiplies(select: exp.Select) -> bool:
    """Whether an output may give several rows for one."""
    return any(output.find(*MULTIPLYING) is not None for output in select.expressions)


def aggregates_from_within(select: exp.Select) -> bool:
    """Whether an aggregate call in a nested query reads columns of this SELECT alone: SQL counts it to this SELECT."""
    for part in around(select):
        for call in part.find_all(exp.AggFunc):
            columns = list(call.find_all(exp.Column))
            nested = call.find_ancestor(exp.Select) is not select
            if nested and columns and all(owner(node) is select for node in columns):
                return True
    return False


def told_apart(
    query: exp.Query, select: exp.Select, columns: Iterable[exp.Column], facts: Facts, present: str = ""
) -> bool:
    """Whether no two of the SELECT's joined rows (before GROUP BY) agree on the columns, NULLs counted as equal.

    With ``present`` this is asked only about rows in which that relation is not filled with NULL by its left join.
    """
    own = {(node.table, node.name) for node in columns if owner(node) is select}
    if not plain_relations(select):
        return False
    _, (probe,) = copied(query, select)
    # Without quotes, as ``Facts`` spells the columns of keys: the probe is never run.
    outputs = [exp.alias_(exp.column(name, table=table), f"k{at}") for at, (table, name) in enumerate(sorted(own))]
    probe.set("expressions", outputs or [exp.alias_(exp.Literal.number(1), "k")])
    for clause in ("group", "having", "order", "limit", "offset", "distinct", "qualify", "windows"):
        probe.set(clause, None)
    for join in probe.args.get("joins") or []:
        if relation_name(join.this) == present and join.side == "LEFT":
            join.set("side", None)
    return facts.unique(probe, [output.alias for output in outputs])
