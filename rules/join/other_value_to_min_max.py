"""Executable form of other_value_to_min_max.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from rules.build import column, conjuncts, derived, fresh_name, set_where, substitute
from rules.correlation import Correlation, correlation
from rules.facts import Facts
from rules.join.inequality import extremes, has_extremes, is_known
from rules.sites import copied, outer_columns, relation_name, relations


@dataclass(frozen=True)
class _Question:
    """``EXISTS (SELECT ... WHERE ties AND value <> asked AND own)``."""

    tied: Correlation
    value: exp.Column
    asked: exp.Column


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """Each EXISTS, plain or negated, that looks for another value under the same key asks a grouping instead."""
    for found in query.find_all(exp.Exists):
        outer = found.find_ancestor(exp.Select)
        if isinstance(outer, exp.Select) and _in_where(found, outer):
            question = _question(found.this, outer, facts)
            if question is not None:
                copy, (site,) = copied(query, found)
                name = fresh_name(copy, "extremes")
                site.set("this", _grouped(found.this, question, name, outer, facts))
                yield copy


def _in_where(condition: exp.Expr, select: exp.Select) -> bool:
    clause = condition.find_ancestor(exp.Where, exp.Select)
    return isinstance(clause, exp.Where) and clause.parent is select


def _question(inner: exp.Expr, outer: exp.Select, facts: Facts) -> _Question | None:
    clauses = ("group", "having", "limit", "offset", "qualify", "windows", "distinct")
    if not isinstance(inner, exp.Select) or any(inner.args.get(clause) for clause in clauses):
        return None
    if not facts.deterministic(inner) or inner.find(exp.AggFunc, exp.Window) is not None:
        return None
    foreign = {id(node) for node in outer_columns(inner)}
    asking = [
        part
        for part in conjuncts(inner.args.get("where"))
        if isinstance(part, exp.NEQ)
        and isinstance(part.this, exp.Column)
        and isinstance(part.expression, exp.Column)
        and (id(part.this) in foreign) != (id(part.expression) in foreign)
    ]
    if len(asking) != 1:
        return None
    value, asked = asking[0].this, asking[0].expression
    if id(value) in foreign:
        value, asked = asked, value
    rest = inner.copy()
    set_where(rest, [part for part in conjuncts(inner.args.get("where")) if part is not asking[0]])
    tied = correlation(rest, outer)
    near = {relation_name(item) for item in relations(outer)}
    if tied is None or not tied.ties or asked.table not in near or not has_extremes(value, facts):
        return None
    # Another type on the other side could compare by a coarser or finer equality.
    if facts.type(asked) != facts.type(value):
        return None
    return _Question(tied, value, asked)


def _grouped(inner: exp.Select, question: _Question, name: str, outer: exp.Select, facts: Facts) -> exp.Select:
    """``SELECT 1 FROM (the keys with their extremes) WHERE ties AND one of the extremes is another value``."""
    ties, asked = question.tied.ties, question.asked
    low, high = extremes(question.value)
    keys = [f"key_{number}" for number in range(1, len(ties) + 1)]
    outputs: list[exp.Expr] = [exp.alias_(tie.inner.copy(), key) for tie, key in zip(ties, keys, strict=True)]
    grouped = inner.copy()
    grouped.set("order", None)
    set_where(grouped, question.tied.own)
    grouped.set("group", exp.Group(expressions=[tie.inner.copy() for tie in ties]))
    conditions: list[exp.Expr] = [
        exp.EQ(this=column(name, key), expression=tie.outer.copy()) for tie, key in zip(ties, keys, strict=True)
    ]
    if _asks_about_itself(inner, question, outer, facts):
        # The asking row is in its own group, so two values there are one more than its own.
        grouped.set("having", exp.Having(this=exp.NEQ(this=low, expression=high)))
        if facts.nullable(asked):
            conditions.append(is_known(asked))
    else:
        outputs += [exp.alias_(low, "low"), exp.alias_(high, "high")]
        other = [exp.NEQ(this=column(name, end), expression=asked.copy()) for end in ("low", "high")]
        conditions.append(exp.Paren(this=exp.Or(this=other[0], expression=other[1])))
    grouped.set("expressions", outputs)
    result = exp.Select(expressions=[exp.Literal.number(1)])
    result.set("from_", exp.From(this=derived(grouped, name)))
    set_where(result, conditions)
    return result


def _asks_about_itself(inner: exp.Select, question: _Question, outer: exp.Select, facts: Facts) -> bool:
    """Whether the row that asks is among the rows searched: same table, same columns compared, and every filter of the
    search holds for the asking row too."""
    items = relations(inner)
    asking = [item for item in relations(outer) if relation_name(item) == question.asked.table]
    if len(items) != 1 or len(asking) != 1:
        return False
    table = facts.table(items[0])
    if table is None or table != facts.table(asking[0]):
        return False
    pairs = [(question.value, question.asked), *((tie.inner, tie.outer) for tie in question.tied.ties)]
    for one, other in pairs:
        if not isinstance(one, exp.Column) or not isinstance(other, exp.Column):
            return False
        if one.name != other.name or other.table != question.asked.table:
            return False
    held = {part.sql() for part in conjuncts(outer.args.get("where"))}
    moved = (
        substitute(part, lambda node: exp.column(node.this.copy(), table=question.asked.args["table"].copy()))
        for part in question.tied.own
    )
    return all(part.find(exp.Query) is None for part in question.tied.own) and all(part.sql() in held for part in moved)
