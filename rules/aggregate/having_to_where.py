"""Executable form of having_to_where.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from rules.build import conjunction, conjuncts, set_where
from rules.facts import Facts
from rules.sites import copied, grouping_sets, owner, selects

# What a condition may be made of besides grouping keys: nothing here aggregates, numbers rows or has an effect.
_PLAIN = (
    exp.And,
    exp.Or,
    exp.Not,
    exp.Paren,
    exp.EQ,
    exp.NEQ,
    exp.GT,
    exp.GTE,
    exp.LT,
    exp.LTE,
    exp.In,
    exp.Between,
    exp.Is,
    exp.Like,
    exp.Literal,
    exp.Null,
    exp.Boolean,
    exp.Identifier,
    exp.Cast,
    exp.DataType,
    exp.DataTypeParam,
    exp.Neg,
    exp.Parameter,
    exp.Placeholder,
    exp.Tuple,
    exp.Lower,
    exp.Upper,
    exp.Substring,
    exp.Trim,
    exp.Length,
    exp.Coalesce,
    exp.Add,
    exp.Sub,
    exp.Mul,
)
_COMPARING = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.In, exp.Between, exp.Is)
# Equal values of these types look the same. Of other types, such as 1.0 and 1.00, they may not: only comparing is safe.
_EXACT = (
    exp.DataType.Type.SMALLINT,
    exp.DataType.Type.INT,
    exp.DataType.Type.BIGINT,
    exp.DataType.Type.TEXT,
    exp.DataType.Type.VARCHAR,
    exp.DataType.Type.DATE,
    exp.DataType.Type.BOOLEAN,
)


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """Conditions of HAVING on grouping keys move to WHERE."""
    for select in selects(query):
        group = select.args.get("group")
        if group is None or not group.expressions or grouping_sets(select) or select.args.get("having") is None:
            continue
        parts = conjuncts(select.args["having"])
        moved = [part for part in parts if _on_keys(part, select, group.expressions, facts)]
        if not moved:
            continue
        copy, (site,) = copied(query, select)
        assert isinstance(site, exp.Select)
        left = conjunction(part for part in parts if part not in moved)
        site.set("having", exp.Having(this=left) if left is not None else None)
        set_where(site, [*conjuncts(site.args.get("where")), *moved])
        yield copy


def _on_keys(part: exp.Expr, select: exp.Select, keys: Sequence[exp.Expr], facts: Facts) -> bool:
    """Whether a condition is built on grouping keys alone, and is as true for every row of a group as for the group."""
    found = False
    for node in part.walk(prune=lambda inner: any(inner == key for key in keys)):
        if any(node == key for key in keys):
            if node.find(exp.Query, exp.Window, exp.Anonymous) is not None or not facts.deterministic(node):
                return False
            if facts.type(node).this not in _EXACT and not (node is part or isinstance(node.parent, _COMPARING)):
                return False
            columns = list(node.find_all(exp.Column))
            found = found or any(owner(column) is select for column in columns)
        elif isinstance(node, exp.Column) or not isinstance(node, _PLAIN):
            return False
    return found
