"""Executable form of factor_or.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from rules.build import COMPARISONS, conjunction, conjuncts, disjunction, set_where
from rules.facts import Facts
from rules.join.conditions import comparing, constant, holding, plain, readable
from rules.sites import copied, relation_name, relations, selects


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """What all operands of an OR have in common comes before it, and what they say of one relation alone becomes a
    filter on that relation. All ORs of a SELECT in one go."""
    for select in selects(query):
        if not readable(select):
            continue
        parts = holding(select)
        said = {part.unnest().sql() for part in parts}
        factored: list[tuple[exp.Expr, exp.Expr]] = []
        implied: list[exp.Expr] = []
        for part in parts:
            operands = _operands(part)
            if len(operands) < 2 or not facts.deterministic(part):
                continue
            common = _common(operands) if all(_safe(one) for operand in operands for one in operand) else {}
            rest = [[one for one in operand if one.sql() not in common] for operand in operands]
            if common:
                remainder = [] if not all(rest) else [_or(rest)]
                whole = conjunction([*common.values(), *remainder])
                assert whole is not None
                factored.append((part, whole))
            if not all(rest):
                continue  # one operand is what all have in common: the others say nothing more
            for item in relations(select):
                new = _of_one(rest, relation_name(item), select)
                if new is not None and new.sql() not in said:
                    said.add(new.sql())
                    implied.append(new)
        if not factored and not implied:
            continue
        copy, nodes = copied(query, select, *(part for part, _ in factored))
        for node, (_, whole) in zip(nodes[1:], factored, strict=True):
            node.replace(whole)
        site = nodes[0]
        assert isinstance(site, exp.Select)
        set_where(site, [*conjuncts(site.args.get("where")), *implied])
        yield copy


def _operands(part: exp.Expr) -> list[list[exp.Expr]]:
    """The operands of an OR, each as its conjuncts."""
    pending, found = [part], []
    while pending:
        node = pending.pop(0)
        if isinstance(node, exp.Paren) and isinstance(node.this, (exp.Or, exp.Paren)):
            pending.insert(0, node.this)
        elif isinstance(node, exp.Or):
            pending[:0] = [node.this, node.expression]
        else:
            found.append(conjuncts(node))
    return found


def _common(operands: Sequence[Sequence[exp.Expr]]) -> dict[str, exp.Expr]:
    """The conjuncts that every operand has, by their text."""
    others = [{part.sql() for part in operand} for operand in operands[1:]]
    return {part.sql(): part for part in operands[0] if all(part.sql() in other for other in others)}


def _or(operands: Sequence[Sequence[exp.Expr]]) -> exp.Expr:
    """OR of the operands, equal ones said once; comparisons of one column with constants by ``=`` become IN."""
    once = {" AND ".join(part.sql() for part in operand): operand for operand in operands}
    tested = [_equality(operand) for operand in once.values()]
    columns = {pair[0].sql() for pair in tested if pair is not None}
    if len(once) > 1 and all(tested) and len(columns) == 1:
        pairs = [pair for pair in tested if pair is not None]
        return exp.In(this=pairs[0][0].copy(), expressions=[value.copy() for _, value in pairs])
    made = []
    for operand in once.values():
        whole = conjunction(operand)
        assert whole is not None
        made.append(exp.Paren(this=whole) if isinstance(whole, exp.And) and len(once) > 1 else whole)
    result = disjunction(made)
    assert result is not None
    return result


def _equality(operand: Sequence[exp.Expr]) -> tuple[exp.Column, exp.Expr] | None:
    """The sides of an operand that is nothing but ``column = constant``."""
    part = operand[0].unnest() if len(operand) == 1 else None
    if isinstance(part, exp.EQ):
        for one, other in ((part.this, part.expression), (part.expression, part.this)):
            if isinstance(one, exp.Column) and constant(other):
                return one, other
    return None


def _of_one(operands: Sequence[Sequence[exp.Expr]], name: str, select: exp.Select) -> exp.Expr | None:
    """What the operands together say of one relation alone; None where one of them says nothing of it, or all of the
    operands read nothing else."""
    found = []
    for operand in operands:
        parts = [part for part in operand if _reads(part) == {name} and plain(part, select) and _safe(part)]
        if not parts:
            return None
        found.append(parts)
    if all(_reads(part) == {name} for operand in operands for part in operand):
        return None
    return _or(found)


def _reads(part: exp.Expr) -> set[str]:
    return {node.table for node in part.find_all(exp.Column)}


def _safe(part: exp.Expr) -> bool:
    """Whether a condition can be asked of every row without failing, also of those that another conjunct of its operand
    would have kept from it."""
    part = part.unnest()
    if part.find(exp.Query) is not None:
        return False
    if isinstance(part, exp.Not):
        return _safe(part.this)
    if isinstance(part, exp.Is) and isinstance(part.expression, exp.Null):
        return isinstance(part.this, exp.Column)
    if isinstance(part, COMPARISONS) and isinstance(part.this, exp.Column):
        return isinstance(part.expression, exp.Column) or constant(part.expression)
    return comparing(part)
