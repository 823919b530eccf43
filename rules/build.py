"""Building blocks for rewritten trees: conjuncts, fresh names, aggregates, derived tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.dialects.postgres import Postgres

from rules.sites import only_inner, owner, relations

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_KEY_WORDS = frozenset(Postgres.Tokenizer.KEYWORDS) | frozenset(DuckDB.Tokenizer.KEYWORDS)

COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)
# Aggregates that are NULL over no rows; COUNT is 0 there.
NULL_WHEN_EMPTY = (exp.Sum, exp.Avg, exp.Min, exp.Max)


def conjuncts(condition: exp.Expr | None) -> list[exp.Expr]:
    """The operands of a chain of AND, brackets around them taken off; empty for no condition."""
    if condition is None:
        return []
    if isinstance(condition, (exp.Where, exp.Having)):
        return conjuncts(condition.this)
    if isinstance(condition, exp.Paren):
        return conjuncts(condition.this) if isinstance(condition.this, (exp.And, exp.Paren)) else [condition]
    if isinstance(condition, exp.And):
        found: list[exp.Expr] = []
        pending: list[exp.Expr] = [condition]
        while pending:
            node = pending.pop()
            if isinstance(node, exp.And):
                pending.extend((node.expression, node.this))
            elif isinstance(node, exp.Paren) and isinstance(node.this, (exp.And, exp.Paren)):
                pending.append(node.this)
            else:
                found.append(node)
        return found
    return [condition]


def conjunction(parts: Iterable[exp.Expr]) -> exp.Expr | None:
    """AND of ``parts`` (copied, OR put in brackets); None for none."""
    return _chain(parts, exp.And, (exp.Or,))


def disjunction(parts: Iterable[exp.Expr]) -> exp.Expr | None:
    """OR of ``parts`` (copied); None for none."""
    return _chain(parts, exp.Or, ())


def _chain(
    parts: Iterable[exp.Expr], connector: type[exp.And] | type[exp.Or], bracketed: tuple[type, ...]
) -> exp.Expr | None:
    result: exp.Expr | None = None
    for part in parts:
        term = part.copy()
        if isinstance(term, bracketed):
            term = exp.Paren(this=term)
        result = term if result is None else connector(this=result, expression=term)
    return result


def set_where(select: exp.Select, parts: Sequence[exp.Expr]) -> None:
    """Make AND of ``parts`` the WHERE of ``select``, in place."""
    condition = conjunction(parts)
    select.set("where", exp.Where(this=condition) if condition is not None else None)


def drop_conjunct(part: exp.Expr) -> None:
    """Take one of the ``conjuncts`` of a WHERE out of it, in place. The others keep their places in the tree, and so do
    queries nested in them."""
    node = part
    while isinstance(node.parent, exp.Paren):
        node = node.parent
    above = node.parent
    if isinstance(above, exp.And):
        above.replace(above.expression if above.this is node else above.this)
    else:
        assert isinstance(above, exp.Where)
        assert above.parent is not None
        above.parent.set("where", None)


def inner_conjuncts(select: exp.Select) -> list[exp.Expr]:
    """All conditions of a SELECT with inner joins only: those of WHERE and those of ON."""
    parts = conjuncts(select.args.get("where"))
    for join in select.args.get("joins") or []:
        parts.extend(conjuncts(join.args.get("on")))
    return parts


def flatten_joins(select: exp.Select) -> None:
    """Turn inner joins with ON into a comma list with everything in WHERE, in place. The meaning stays the same."""
    assert only_inner(select)
    parts = inner_conjuncts(select)
    for join in select.args.get("joins") or []:
        join.set("on", None)
        join.set("kind", None)
    set_where(select, parts)


def add_relation(select: exp.Select, relation: exp.Expr, condition: exp.Expr | None) -> None:
    """Add an inner-joined relation to ``select``, in place; its join condition goes to WHERE."""
    if select.args.get("from_") is None:
        select.set("from_", exp.From(this=relation))
    else:
        select.append("joins", exp.Join(this=relation))
    if condition is not None:
        set_where(select, [*conjuncts(select.args.get("where")), *conjuncts(condition)])


def add_left_join(select: exp.Select, relation: exp.Expr, condition: exp.Expr) -> None:
    """Add ``LEFT JOIN relation ON condition`` behind all relations of ``select``, in place.

    Commas bind less tightly than JOIN, so the condition could not see relations before one: they become CROSS JOINs.
    """
    for join in select.args.get("joins") or []:
        if not join.side and not join.kind and join.args.get("on") is None and not join.args.get("using"):
            join.set("kind", "CROSS")
    select.append("joins", exp.Join(this=relation, side="LEFT", on=condition))


def fresh_name(query: exp.Query, stem: str, taken: Iterable[str] = ()) -> str:
    """``stem`` or ``stem_2``, ``stem_3``, ...: a name that no relation, alias or column of the query has."""
    used = {node.name for node in query.find_all(exp.Identifier)} | set(taken)
    if stem not in used:
        return stem
    number = 2
    while f"{stem}_{number}" in used:
        number += 1
    return f"{stem}_{number}"


def derived(query: exp.Query, alias: str) -> exp.Subquery:
    """``(query) AS alias``."""
    return exp.Subquery(this=query, alias=exp.TableAlias(this=identifier(alias)))


def identifier(name: str) -> exp.Identifier:
    """``name`` exactly as the catalog has it: quoted where an engine would fold it or read it as a key word."""
    plain = _PLAIN.fullmatch(name) is not None and name.upper() not in _KEY_WORDS
    return exp.Identifier(this=name, quoted=not plain)


def column(table: str, name: str) -> exp.Column:
    """``table.name``, quoted only where the name has to be."""
    return exp.column(identifier(name), table=identifier(table))


def aggregates(node: exp.Expr) -> list[exp.AggFunc]:
    """The aggregate calls of an expression, those inside nested queries and window functions left out."""
    walk = node.walk(prune=lambda inner: isinstance(inner, (exp.Query, exp.Window)))
    return [child for child in walk if isinstance(child, exp.AggFunc)]


def is_single_row(select: exp.Expr) -> bool:
    """Whether a query is a SELECT of aggregates without GROUP BY: exactly one row, whatever the data."""
    if not isinstance(select, exp.Select):
        return False
    plain = not any(
        select.args.get(clause) for clause in ("group", "having", "limit", "offset", "distinct", "qualify", "windows")
    )
    return plain and bool(select.expressions) and all(aggregates(output) for output in select.expressions)


def strict(expression: exp.Expr, inner: exp.Expr) -> bool:
    """Whether ``expression`` is NULL whenever its part ``inner`` is: only arithmetic, casts and brackets on the way."""
    node: exp.Expr | None = inner
    while node is not expression:
        assert node is not None
        node = node.parent
        if node is None or not isinstance(
            node, (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.Paren, exp.Cast, *COMPARISONS)
        ):
            return False
    return True


def substitute(expression: exp.Expr, replacement: Callable[[exp.Column], exp.Expr | None]) -> exp.Expr:
    """A copy with columns replaced where ``replacement`` gives something for them; operators get brackets."""
    copy = expression.copy()
    for node in list(copy.find_all(exp.Column)):
        new = replacement(node)
        if new is None:
            continue
        new = new.copy()
        if isinstance(new, (exp.Binary, exp.Connector, exp.Not, exp.Neg)) and node.parent is not None:
            new = exp.Paren(this=new)
        if node is copy:
            return new
        node.replace(new)
    return copy


def tables_of(expression: exp.Expr) -> set[str]:
    """Names of the relations whose columns stand in an expression, nested queries included."""
    return {node.table for node in expression.find_all(exp.Column)}


def rename_relations(select: exp.Select, names: dict[str, str]) -> None:
    """Rename relations of one SELECT and every reference to them inside it, in place."""
    own = [node for node in select.find_all(exp.Column) if node.table in names and owner(node) is select]
    for item in relations(select):
        new = names.get(item.alias_or_name)
        if new is not None:
            item.set("alias", exp.TableAlias(this=identifier(new)))
    for node in own:
        node.set("table", identifier(names[node.table]))


def union(parts: Sequence[exp.Query], distinct: bool = False) -> exp.Query:
    """``parts`` in a chain of UNION ALL, or of UNION where ``distinct``."""
    result = parts[0]
    for part in parts[1:]:
        result = exp.Union(this=result, expression=part, distinct=distinct)
    return result
