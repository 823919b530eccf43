"""Executable form of constant_order_key_removed.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from rules.aggregate.rows import MULTIPLYING, aggregates_from_within, multiplies, told_apart
from rules.build import conjuncts, inner_conjuncts
from rules.core import own_aggregates
from rules.facts import Facts
from rules.sites import copied, grouping_sets, only_inner, owner, selects

_NUMBERS = (
    exp.DataType.Type.SMALLINT,
    exp.DataType.Type.INT,
    exp.DataType.Type.BIGINT,
    exp.DataType.Type.DECIMAL,
)
_SPELLED = (
    exp.DataType.Type.TEXT,
    exp.DataType.Type.VARCHAR,
    exp.DataType.Type.CHAR,
    exp.DataType.Type.DATE,
    exp.DataType.Type.TIMESTAMP,
)


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """ORDER BY loses keys that are the same in all rows, that stand in it before, or that follow a key of the rows."""
    for select in selects(query):
        clause = select.args.get("order")
        if clause is None or len(clause.expressions) < 2 or grouping_sets(select):
            continue
        if (select.args.get("distinct") or exp.Distinct()).args.get("on"):
            continue
        kept = _needed(query, select, clause.expressions, facts)
        if len(kept) < len(clause.expressions):
            copy, (site,) = copied(query, clause)
            site.set("expressions", [site.expressions[at] for at in kept])
            yield copy


def _needed(query: exp.Query, select: exp.Select, entries: Sequence[exp.Expr], facts: Facts) -> list[int]:
    """The numbers of the ORDER BY keys that have an effect; the first one when none has."""
    outputs = {output.alias_or_name: output.unalias() for output in select.selects}
    fixed = _fixed(select, facts)
    before: list[exp.Expr] = []
    kept: list[int] = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, exp.Ordered) or entry.args.get("with_fill"):
            return list(range(len(entries)))
        key = entry.this
        if isinstance(key, exp.Column) and not key.table:
            key = outputs.get(key.name, key)
        if _one_row_each(query, select, [*before, *fixed], facts):
            break
        known = key in fixed or isinstance(key, exp.Literal) or any(key == other for other in before)
        if not known or not facts.deterministic(key) or key.find(*MULTIPLYING) is not None:
            kept.append(number)
            before.append(key)
    return kept or [0]


def _one_row_each(query: exp.Query, select: exp.Select, given: Sequence[exp.Expr], facts: Facts) -> bool:
    """Whether no two result rows agree on the given expressions."""
    if multiplies(select) or aggregates_from_within(select):
        return False
    group = select.args.get("group")
    if group is not None:
        return bool(group.expressions) and all(any(key == part for part in given) for key in group.expressions)
    if own_aggregates(select) or select.args.get("having"):
        return False
    return told_apart(query, select, [part for part in given if isinstance(part, exp.Column) and part.table], facts)


def _fixed(select: exp.Select, facts: Facts) -> list[exp.Column]:
    """The columns that a condition equates with a literal, so that all rows tie on them."""
    parts = inner_conjuncts(select) if only_inner(select) else conjuncts(select.args.get("where"))
    found = []
    for part in parts:
        if isinstance(part, exp.EQ):
            for one, other in ((part.this, part.expression), (part.expression, part.this)):
                if isinstance(one, exp.Column) and owner(one) is select and _value(other, facts.type(one).this):
                    found.append(one)
    return found


def _value(node: exp.Expr, kind: object) -> bool:
    """Whether a node is a literal that only one value of the type equals: the comparison casts no column."""
    if isinstance(node, exp.Neg):
        node = node.this
    if isinstance(node, exp.Cast) and node.to.this is kind:
        node = node.this
    if not isinstance(node, exp.Literal):
        return False
    if node.is_string:
        return kind in _SPELLED
    return kind in _NUMBERS and node.name.replace(".", "", 1).isdigit()
