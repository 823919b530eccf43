"""Several single-row aggregate queries over the same relations, fused into one scan with FILTER."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from rules.build import (
    aggregates,
    conjunction,
    disjunction,
    inner_conjuncts,
    is_single_row,
    rename_relations,
    set_where,
    tables_of,
)
from rules.facts import Facts
from rules.sites import only_inner, outer_columns, relation_name, relations, with_of


@dataclass(frozen=True)
class Fused:
    """``select`` has one row; ``outputs[b]`` are the expressions over its columns that give branch b's outputs."""

    select: exp.Select
    names: tuple[tuple[str, ...], ...]


def skeleton(select: exp.Expr, facts: Facts) -> tuple[str, ...] | None:
    """What must agree for two branches to be fused: the relations read, each once. None: not fusible."""
    if not isinstance(select, exp.Select) or not is_single_row(select) or with_of(select) is not None:
        return None
    if not only_inner(select) or outer_columns(select) or not facts.deterministic(select) or not relations(select):
        return None
    if select.find(exp.Subquery) is not None or select.find(exp.Exists) is not None:
        return None
    # A FILTER cannot be put on what already has one, and DISTINCT ON or WITHIN GROUP aggregates are left alone.
    if select.find(exp.Filter, exp.WithinGroup, exp.Window) is not None:
        return None
    if any(_beside_aggregates(output) for output in select.expressions):
        return None
    if any(not isinstance(item, exp.Table) or _renames_columns(item) for item in relations(select)):
        return None
    names = [_table(item) for item in relations(select)]
    return tuple(sorted(names)) if len(set(names)) == len(names) else None


def _beside_aggregates(output: exp.Expr) -> bool:
    """Whether a column or a function that the parser does not know stands outside of every known aggregate. Such a
    function is an aggregate itself (Postgres's ``every`` is one), and would escape its FILTER."""
    walk = output.walk(prune=lambda node: isinstance(node, exp.AggFunc))
    return any(isinstance(node, (exp.Column, exp.Anonymous)) for node in walk)


def _renames_columns(item: exp.Expr) -> bool:
    alias = item.args.get("alias")
    return alias is not None and bool(alias.columns)


def fuse(branches: Sequence[exp.Select]) -> Fused | None:
    """One SELECT over the relations of all ``branches`` (which share a skeleton), whose aggregates carry as FILTER what
    is particular to their branch. Conjuncts common to all stay in WHERE, which is widened to any branch.

    None when the branches join their relations differently: the one scan would be a cross product.
    """
    first = branches[0]
    names = {_table(item): relation_name(item) for item in relations(first)}
    aligned = []
    for branch in branches:
        copy = branch.copy()
        rename_relations(copy, {relation_name(item): names[_table(item)] for item in relations(copy)})
        aligned.append(copy)
    conditions = [{_key(part): part for part in inner_conjuncts(branch)} for branch in aligned]
    common = [key for key in conditions[0] if all(key in other for other in conditions[1:])]
    own = [[part for key, part in parts.items() if key not in common] for parts in conditions]
    if any(len(tables_of(part)) > 1 for parts in own for part in parts):
        return None

    outputs: dict[str, tuple[str, exp.Expr]] = {}
    result: list[tuple[str, ...]] = []
    for branch, particular in zip(aligned, own, strict=True):
        condition = conjunction(particular)
        row = []
        for projection in branch.expressions:
            expression = _filtered(projection.unalias(), condition)
            text = expression.sql()
            if text not in outputs:
                outputs[text] = (f"value_{len(outputs) + 1}", expression)
            row.append(outputs[text][0])
        result.append(tuple(row))

    fused = first.copy()
    fused.set("order", None)
    fused.set("expressions", [exp.alias_(expression, name) for name, expression in outputs.values()])
    for join in fused.args.get("joins") or []:
        join.set("on", None)
        join.set("kind", None)
    where = [conditions[0][key] for key in common]
    if all(own):
        widened = disjunction(part for part in (conjunction(parts) for parts in own) if part is not None)
        if widened is not None:
            where.append(exp.Paren(this=widened))
    set_where(fused, where)
    return Fused(fused, tuple(result))


def _table(item: exp.Expr) -> str:
    return f"{item.args['db'].name if item.args.get('db') else ''}.{item.name}"


def _key(part: exp.Expr) -> str:
    """The text of a conjunct, the same for ``a = b`` and ``b = a``."""
    if isinstance(part, exp.EQ):
        left, right = sorted((part.this.sql(), part.expression.sql()))
        return f"{left} = {right}"
    return part.sql()


def _filtered(expression: exp.Expr, condition: exp.Expr | None) -> exp.Expr:
    copy = expression.copy()
    if condition is None:
        return copy
    root = exp.Paren(this=copy)
    for call in aggregates(root):
        call.replace(exp.Filter(this=call.copy(), expression=exp.Where(this=condition.copy())))
    inner: exp.Expr = root.this
    return inner
