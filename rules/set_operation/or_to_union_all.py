"""Executable form of or_to_union_all.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from rules import core as cores
from rules.aggregate.rows import aggregates_from_within, plain_relations
from rules.build import conjuncts, derived, fresh_name, inner_conjuncts, set_where, union
from rules.facts import Facts
from rules.sites import copied, relation_name, relations, selects

MOST = 3  # branches: each joins all relations anew


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """A join under an OR that reads several relations becomes a UNION ALL of one join for each operand, later
    ones without the rows of earlier ones."""
    for select in selects(query):
        if not cores.splittable(select, facts) or not plain_relations(select) or aggregates_from_within(select):
            continue
        # A derived table would be computed anew in every branch, and with LIMIT it may give other rows there.
        if not all(isinstance(item, exp.Table) for item in relations(select)):
            continue
        for part in inner_conjuncts(select):
            operands = _operands(part)
            if 1 < len(operands) <= MOST and _worth(part, operands, select):
                yield _rewritten(query, select, part, operands)


def _operands(part: exp.Expr) -> list[exp.Expr]:
    """The operands of a chain of OR, brackets around them taken off."""
    node = part.unnest()
    if not isinstance(node, exp.Or):
        return [node]
    return [*_operands(node.this), *_operands(node.expression)]


def _worth(part: exp.Expr, operands: Sequence[exp.Expr], select: exp.Select) -> bool:
    """Whether the OR spans relations while each operand alone restricts one of them or joins two by an equality."""
    if len(cores.reads(part, select)) < 2:
        return False
    return all(
        any(
            len(cores.reads(own, select)) == 1 or (isinstance(own, exp.EQ) and len(cores.reads(own, select)) == 2)
            for own in conjuncts(operand)
        )
        for operand in operands
    )


def _rewritten(query: exp.Query, select: exp.Select, part: exp.Expr, operands: Sequence[exp.Expr]) -> exp.Query:
    copy, (site, chosen) = copied(query, select, part)
    assert isinstance(site, exp.Select)
    chosen.replace(exp.true())
    everything = frozenset(relation_name(item) for item in relations(site))
    made = cores.cut(site, everything, cores.around(site))
    # Where the SELECT around only counts rows, something has to be selected nevertheless.
    made.inner.set("expressions", made.outputs() or [exp.alias_(exp.Literal.number(1), "one")])
    parts: list[exp.Query] = []
    for position, operand in enumerate(operands):
        branch = made.inner.copy()
        own = [node for node in conjuncts(branch.args.get("where")) if node.sql() != "TRUE"]
        set_where(branch, [*own, *conjuncts(operand), *(_not_true(earlier) for earlier in operands[:position])])
        parts.append(branch)
    cores.attach(site, everything, made, derived(union(parts), fresh_name(copy, "parts")))
    return copy


def _not_true(condition: exp.Expr) -> exp.Expr:
    """``condition IS NOT TRUE``: also where it is NULL, which NOT would leave NULL."""
    return exp.Not(this=exp.Is(this=exp.Paren(this=condition.copy()), expression=exp.true()))
