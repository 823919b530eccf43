"""Executable form of group_union_branches.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from rules import core as cores
from rules.aggregate.grouping import group_first
from rules.build import identifier
from rules.cte.push import same_types
from rules.facts import Facts
from rules.sites import copied, find_cte, only_inner, outer_columns, references, relation_name, relations, selects


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """Aggregates over a UNION ALL are computed for each branch and then combined."""
    for select in selects(query):
        if not cores.own_aggregates(select) or not only_inner(select) or outer_columns(select):
            continue
        if select.args.get("windows") or select.args.get("qualify"):
            continue
        for item in relations(select):
            branches = _union(query, item, facts)
            if branches is None or all(branch.args.get("group") for branch in branches):
                continue
            copy, (site,) = copied(query, select)
            made = group_first(copy, site, select, frozenset({relation_name(item)}), facts)
            if made is not None and not made.this.args.get("having"):
                _spread(made, branches)
                yield copy


def _union(query: exp.Query, item: exp.Expr, facts: Facts) -> list[exp.Select] | None:
    """The branches of the UNION ALL that a derived table is, or a CTE that is read here alone; their outputs have the
    names under which the item's are read. A SELECT of mere columns around the union counts as well."""
    alias = item.args.get("alias")
    if alias is not None and alias.columns:
        return None
    cte = find_cte(item)
    if cte is not None and (
        cte.args["alias"].columns or len(references(query, cte)) != 1 or cte.args.get("materialized")
    ):
        return None
    definition = facts.definition(item)
    if definition is None or not facts.deterministic(definition):
        return None
    if isinstance(definition, exp.Select):
        return _projected(query, definition, facts)
    branches = _branches(definition)
    if branches is None or not all(same_types(branches[0], branch, facts) for branch in branches[1:]):
        return None
    names = definition.named_selects
    return [_with_outputs(branch, branch.selects, names) for branch in branches]


def _projected(query: exp.Query, select: exp.Select, facts: Facts) -> list[exp.Select] | None:
    """The branches below a SELECT that only picks columns of a union."""
    plain = {"expressions", "from_"}
    if any(value for key, value in select.args.items() if key not in plain) or len(relations(select)) != 1:
        return None
    if not all(isinstance(output.unalias(), exp.Column) for output in select.selects):
        return None
    below = _union(query, relations(select)[0], facts)
    if below is None:
        return None
    picked = []
    for branch in below:
        outputs = {output.alias_or_name: output for output in branch.selects}
        names = [output.unalias().name for output in select.selects]
        if branch.args.get("distinct") or not all(name in outputs for name in names):
            return None
        picked.append(_with_outputs(branch, [outputs[name] for name in names], select.named_selects))
    return picked


def _with_outputs(branch: exp.Select, outputs: Sequence[exp.Expr], names: Sequence[str]) -> exp.Select:
    copy = branch.copy()
    new = [exp.alias_(output.unalias().copy(), identifier(name)) for output, name in zip(outputs, names, strict=True)]
    copy.set("expressions", new)
    return copy


def _branches(query: exp.Expr) -> list[exp.Select] | None:
    """The SELECTs of a chain of UNION ALL of two or more; None for any other query."""
    if not isinstance(query, exp.Union) or query.args.get("distinct"):
        return None
    if any(query.args.get(clause) for clause in ("limit", "offset", "order", "with_", "by_name")):
        return None
    found: list[exp.Select] = []
    for side in (query.this, query.expression):
        if isinstance(side, exp.Select) and not side.args.get("with_"):
            found.append(side)
            continue
        below = _branches(side)
        if below is None:
            return None
        found.extend(below)
    return found


def _spread(made: exp.Subquery, branches: Sequence[exp.Select]) -> None:
    """Turn the grouping of the union, in place, into a union of groupings."""
    grouping = made.this
    (item,) = relations(grouping)
    parts: list[exp.Select] = []
    for branch in branches:
        part = grouping.copy()
        alias = exp.TableAlias(this=identifier(relation_name(item)))
        part.set("from_", exp.From(this=exp.Subquery(this=branch.copy(), alias=alias)))
        parts.append(part)
    result: exp.Query = parts[0]
    for part in parts[1:]:
        result = exp.Union(this=result, expression=part, distinct=False)
    made.set("this", result)
