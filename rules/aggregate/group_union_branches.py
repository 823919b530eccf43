"""Executable form of group_union_branches.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from rules import core as cores
from rules.aggregate.grouping import group_first
from rules.build import derived, union
from rules.cte.push import same_types
from rules.facts import Facts
from rules.set_operation.branches import branches, with_names
from rules.sites import copied, find_cte, only_inner, outer_columns, references, relation_name, relations, selects


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """Aggregates over a UNION ALL are computed for each branch and then combined."""
    for select in selects(query):
        if not cores.own_aggregates(select) or not only_inner(select) or outer_columns(select):
            continue
        if select.args.get("windows") or select.args.get("qualify"):
            continue
        for item in relations(select):
            parts = _union(query, item, facts)
            if parts is None or all(part.args.get("group") for part in parts):
                continue
            copy, (site,) = copied(query, select)
            made = group_first(copy, site, select, frozenset({relation_name(item)}), facts)
            if made is not None and not made.this.args.get("having"):
                _spread(made, parts)
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
    parts = branches(definition)
    if parts is None or not all(same_types(parts[0], part, facts) for part in parts[1:]):
        return None
    return [with_names(part, part.selects, definition.named_selects) for part in parts]


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
        picked.append(with_names(branch, [outputs[name] for name in names], select.named_selects))
    return picked


def _spread(made: exp.Subquery, parts: Sequence[exp.Select]) -> None:
    """Turn the grouping of the union, in place, into a union of groupings."""
    grouping = made.this
    (item,) = relations(grouping)
    groupings: list[exp.Select] = []
    for part in parts:
        copy = grouping.copy()
        copy.set("from_", exp.From(this=derived(part.copy(), relation_name(item))))
        groupings.append(copy)
    made.set("this", union(groupings))
