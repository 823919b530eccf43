"""INTERSECT and EXCEPT as a test, for each different row on the left, whether the right side has it."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.build import column, conjunction, fresh_name, set_where
from rules.facts import Facts
from rules.set_operation.operands import columns, comparable, operands, put, read
from rules.sites import copied, outer_columns


def matched(query: exp.Query, facts: Facts, kind: type[exp.SetOperation], *, wanted: bool) -> Iterator[exp.Query]:
    """Every operation of ``kind`` over two SELECTs as SELECT DISTINCT from the left one where a row of the right one
    with equal columns exists (``wanted``) or does not."""
    for node in query.find_all(kind):
        parts = operands(node, kind)
        if parts is None or len(parts) != 2 or not comparable(parts, facts) or outer_columns(node):
            continue
        if not _equality_will_do(parts, facts):
            continue
        copy, (site,) = copied(query, node)
        sides = operands(site, kind)
        assert sides is not None
        left, right = sides
        names = left.named_selects
        one = fresh_name(copy, "kept")
        other = fresh_name(copy, "other", [one])
        inner = exp.Select(expressions=[exp.alias_(exp.Literal.number(1), "found")])
        inner.set("from_", exp.From(this=read(right, other, names)))
        equal = conjunction(exp.EQ(this=column(other, name), expression=column(one, name)) for name in names)
        assert equal is not None
        set_where(inner, [equal])
        test: exp.Expr = exp.Exists(this=inner)
        made = exp.Select(expressions=columns(one, names))
        made.set("from_", exp.From(this=read(left, one, names)))
        if not facts.unique(parts[0], names):
            made.set("distinct", exp.Distinct())
        set_where(made, [test if wanted else exp.Not(this=test)])
        yield put(copy, site, made)


def _equality_will_do(parts: list[exp.Query], facts: Facts) -> bool:
    """Whether no column can be NULL on both sides: a set operation takes two NULLs for equal, and ``=`` does not."""
    left, right = parts
    return all(
        not facts.nullable(one.unalias()) or not facts.nullable(other.unalias())
        for one, other in zip(left.selects, right.selects, strict=True)
    )
