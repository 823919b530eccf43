"""Executable form of union_branches_to_or.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from rules.aggregate.rows import aggregates_from_within
from rules.build import conjunction, conjuncts, disjunction, rename_relations, set_where, union
from rules.facts import Facts
from rules.set_operation.disjoint import disjoint
from rules.sites import copied, owner, relation_name, relations

_CARRIED = ("with_", "order", "limit", "offset")
# What a branch may consist of: anything else stops the rule, also clauses that are not thought of here.
_PLAIN = frozenset({"expressions", "from_", "joins", "where", "distinct", "laterals"})


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """Branches of a union that read the same relations under different filters become one SELECT with OR; all those of
    a chain of unions in one go."""
    for node in query.find_all(exp.Union):
        distinct = bool(node.args.get("distinct"))
        if _below_its_like(node, distinct) or _recursive(node) or not facts.deterministic(node):
            continue
        parts = _chain(node, distinct)
        groups = _groups(parts, distinct, facts) if parts is not None else []
        if parts is None or len(groups) == len(parts):
            continue
        copy, (site,) = copied(query, node)
        merged = [
            _merged(group, distinct=distinct and len(groups) == 1) if len(group) > 1 else group[0].copy()
            for group in groups
        ]
        result = union(merged, distinct)
        for clause in _CARRIED:
            if site.args.get(clause) is not None:
                result.set(clause, site.args[clause])
        if site is copy:
            yield result
        else:
            site.replace(result)
            yield copy


def _below_its_like(node: exp.Union, distinct: bool) -> bool:
    """Whether the union is a part of a longer chain, which is looked at as a whole."""
    above = node.parent
    return isinstance(above, exp.Union) and bool(above.args.get("distinct")) == distinct


def _recursive(node: exp.Expr) -> bool:
    clause = node.find_ancestor(exp.With)
    return clause is not None and bool(clause.args.get("recursive"))


def _chain(node: exp.Expr, distinct: bool, top: bool = True) -> list[exp.Select] | None:
    """The SELECTs of a chain of UNION, or of UNION ALL, in order. None when the chain holds anything else."""
    if isinstance(node, exp.Select):
        return [node]
    if not isinstance(node, exp.Union) or bool(node.args.get("distinct")) != distinct or node.args.get("by_name"):
        return None
    if not top and any(node.args.get(clause) for clause in _CARRIED):
        return None
    order = node.args.get("order")
    # In a SELECT, anything but the name of an output would be computed from the columns behind the outputs.
    if order is not None and not all(_names_output(key, node) for key in order.expressions):
        return None
    left, right = _chain(node.this, distinct, top=False), _chain(node.expression, distinct, top=False)
    return [*left, *right] if left is not None and right is not None else None


def _names_output(key: exp.Expr, node: exp.Union) -> bool:
    named = key.this if isinstance(key, exp.Ordered) else key
    return isinstance(named, exp.Column) and not named.table and node.named_selects.count(named.name) == 1


def _groups(parts: Sequence[exp.Select], distinct: bool, facts: Facts) -> list[list[exp.Select]]:
    """The branches, those together that can be one SELECT. The others of a group are copies in which the relations are
    called as in its first."""
    groups: list[list[exp.Select]] = []
    for part in parts:
        for group in groups:
            renamed = _called_like(part, group[0]) if _mergeable(part, distinct) else None
            if renamed is None or not _mergeable(group[0], distinct) or _frame(renamed) != _frame(group[0]):
                continue
            if distinct or all(_apart(group[0], other, renamed, facts) for other in group):
                group.append(renamed)
                break
        else:
            groups.append([part])
    return groups


def _mergeable(select: exp.Select, distinct: bool) -> bool:
    """Whether a branch gives rows one by one: no aggregates, windows or LIMIT; DISTINCT where the union is."""
    if any(value for key, value in select.args.items() if key not in _PLAIN) or not relations(select):
        return False
    own = select.args.get("distinct")
    if own is not None and (not distinct or own.args.get("on")):
        return False
    if aggregates_from_within(select):
        return False
    return not any(
        isinstance(node, (exp.AggFunc, exp.Window, exp.Anonymous, exp.UDTF, exp.Explode))
        for output in select.selects
        for node in output.walk(prune=lambda inner: isinstance(inner, exp.Query))
    )


def _called_like(part: exp.Select, first: exp.Select) -> exp.Select | None:
    """A copy of ``part`` whose relations have the names of those of ``first``, in order; None when that is not safe."""
    copy = part.copy()
    wanted = [relation_name(item) for item in relations(first)]
    names = [relation_name(item) for item in relations(copy)]
    if names == wanted:
        return copy
    if len(names) != len(wanted) or len(set(names)) < len(names) or len(set(wanted)) < len(wanted):
        return None
    # A nested query might have a relation of the new name; columns around might have the new name too.
    if any(node is not copy for node in copy.find_all(exp.Query)):
        return None
    if any((item.args.get("alias") or exp.TableAlias()).columns for item in relations(copy)):
        return None
    if any(owner(column) is not copy for column in copy.find_all(exp.Column)):
        return None
    rename_relations(copy, dict(zip(names, wanted, strict=True)))
    return copy


def _frame(select: exp.Select) -> list[str]:
    """A branch without WHERE, DISTINCT and the names of its outputs."""
    bare = select.copy()
    for clause in ("where", "distinct"):
        bare.set(clause, None)
    bare.set("expressions", [])
    return [bare.sql(), *(output.unalias().sql() for output in select.selects)]


def _apart(first: exp.Select, one: exp.Select, other: exp.Select, facts: Facts) -> bool:
    """Whether no row of the joined relations passes the filters of both. ``first`` stands in the query, and its
    relations are theirs."""
    stated = {(node.table, node.name): node for node in first.find_all(exp.Column) if owner(node) is first}

    def type_of(column: exp.Column) -> exp.DataType | None:
        own = stated.get((column.table, column.name))
        return facts.type(own) if own is not None else None

    return disjoint(conjuncts(one.args.get("where")), conjuncts(other.args.get("where")), type_of)


def _merged(group: Sequence[exp.Select], *, distinct: bool) -> exp.Select:
    """One SELECT of the rows of all branches of a group."""
    filters = [{part.sql(): part for part in conjuncts(select.args.get("where"))} for select in group]
    common = [part for text, part in filters[0].items() if all(text in own for own in filters[1:])]
    said = {part.sql() for part in common}
    rest = [conjunction(part for text, part in own.items() if text not in said) for own in filters]
    result = group[0].copy()
    # A branch with nothing but the common filters has all rows of the others.
    either = disjunction(part for part in rest if part is not None) if all(rest) else None
    set_where(result, [*common, *([either] if either is not None else [])])
    result.set("distinct", exp.Distinct() if distinct else None)
    return result
