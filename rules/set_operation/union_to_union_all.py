"""Executable form of union_to_union_all.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.facts import Facts
from rules.sites import copied


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """UNION becomes UNION ALL where no row can come twice, or where nobody counts how often one comes."""
    for node in query.find_all(exp.Union):
        if not node.args.get("distinct") or node.args.get("by_name"):
            continue
        if _nobody_counts(node) or _no_row_twice(node, facts):
            copy, (site,) = copied(query, node)
            site.set("distinct", False)
            yield copy


def _nobody_counts(node: exp.Union) -> bool:
    if any(node.args.get(clause) for clause in ("limit", "offset")):
        return False
    parent = node.parent
    if isinstance(parent, exp.SetOperation):
        return bool(parent.args.get("distinct"))
    if isinstance(parent, exp.Exists):
        return True
    return isinstance(parent, exp.Subquery) and isinstance(parent.parent, exp.In) and parent.arg_key == "query"


def _no_row_twice(node: exp.Union, facts: Facts) -> bool:
    """Whether each branch has a key and the branches differ in a literal."""
    left, right = node.this, node.expression
    if not isinstance(left, exp.Select) or not isinstance(right, exp.Select):
        return False
    apart = any(
        _different(one.unalias(), other.unalias()) for one, other in zip(left.selects, right.selects, strict=True)
    )
    return apart and all(facts.unique(branch, branch.named_selects) for branch in (left, right))


def _different(one: exp.Expr, other: exp.Expr) -> bool:
    if not isinstance(one, exp.Literal) or not isinstance(other, exp.Literal) or one.is_string != other.is_string:
        return False
    if one.is_string:
        return one.name.rstrip() != other.name.rstrip()
    return one.name.isdigit() and other.name.isdigit() and int(one.name) != int(other.name)
