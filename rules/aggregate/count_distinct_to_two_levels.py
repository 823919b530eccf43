"""Executable form of count_distinct_to_two_levels.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from rules import core as cores
from rules.aggregate.partial import Partials
from rules.aggregate.rows import MULTIPLYING
from rules.build import column, derived, fresh_name, identifier
from rules.facts import Facts
from rules.sites import copied, grouping_sets, outer_columns, relation_name, relations, selects

# What moves into the first grouping; the rest of the SELECT stays around it.
_ROWS = ("from_", "joins", "laterals", "where")


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """COUNT(DISTINCT x) becomes COUNT over the groups of an inner GROUP BY that x has joined."""
    for select in selects(query):
        if not _suited(select, facts):
            continue
        calls = cores.own_aggregates(select)
        counted = _counted(calls)
        if counted is not None and not any(counted == key for key in _keys(select)):
            rewritten = _rewritten(query, select, calls, facts)
            if rewritten is not None:
                yield rewritten


def _suited(select: exp.Select, facts: Facts) -> bool:
    if not relations(select) or any(select.args.get(clause) for clause in ("windows", "qualify", "laterals")):
        return False
    if grouping_sets(select) or outer_columns(select) or not facts.deterministic(select):
        return False
    if (select.args.get("distinct") or exp.Distinct()).args.get("on"):
        return False
    group = select.args.get("group")
    if group is not None and not group.expressions:
        return False
    parts = cores.around(select)
    return not any(part.find(exp.Query, exp.Window, *MULTIPLYING) is not None for part in parts)


def _keys(select: exp.Select) -> list[exp.Expr]:
    group = select.args.get("group")
    return list(group.expressions) if group is not None else []


def _distinct(call: exp.AggFunc) -> exp.Expr | None:
    """The argument of a plain COUNT(DISTINCT x)."""
    if not isinstance(call, exp.Count) or call.expressions or not isinstance(call.this, exp.Distinct):
        return None
    if isinstance(call.parent, (exp.Filter, exp.WithinGroup)) or call.this.args.get("on"):
        return None
    arguments = call.this.expressions
    return arguments[0] if len(arguments) == 1 and arguments[0].find(exp.Column) is not None else None


def _counted(calls: Sequence[exp.AggFunc]) -> exp.Expr | None:
    """The one expression whose different values are counted; None when there are none or several."""
    found = [argument for call in calls if (argument := _distinct(call)) is not None]
    return found[0] if found and all(argument == found[0] for argument in found) else None


def _rewritten(query: exp.Query, select: exp.Select, calls: Sequence[exp.AggFunc], facts: Facts) -> exp.Query | None:
    copy, (site,) = copied(query, select)
    partials = Partials(facts, select, site, frozenset(relation_name(item) for item in relations(select)))
    alias = fresh_name(query, "grouped")
    value = fresh_name(query, "counted")
    counted: exp.Expr | None = None
    for call, original in zip(cores.own_aggregates(site), calls, strict=True):
        argument = _distinct(call)
        if argument is not None:
            counted = argument.copy()
            call.set("this", column(alias, value))
            continue
        combined = partials.combine(call, original)
        if combined is None:
            return None
        place = call.parent if isinstance(call.parent, exp.Filter) and call.parent.this is call else call
        assert place is not None
        if isinstance(place.parent, (exp.Binary, exp.Neg)) and isinstance(combined, exp.Binary):
            combined = exp.Paren(this=combined)
        place.replace(combined)
    assert counted is not None
    keys = [key.copy() for key in _keys(site)]
    names: list[str] = []
    for key in keys:
        names.append(fresh_name(exp.select(), key.name or "key", [*names, value]))
    for part in cores.around(site):
        for node in list(part.walk(prune=lambda inner: any(inner == key for key in keys))):
            for key, name in zip(keys, names, strict=True):
                if node == key:
                    node.replace(column(alias, name))
                    break
    inner = exp.Select()
    for clause in _ROWS:
        inner.set(clause, site.args.get(clause))
        site.set(clause, None)
    outputs = [exp.alias_(key, identifier(name)) for key, name in zip(keys, names, strict=True)]
    outputs.append(exp.alias_(counted, identifier(value)))
    inner.set("expressions", [*outputs, *partials.outputs({*names, value})])
    inner.set("group", exp.Group(expressions=[*(key.copy() for key in keys), counted.copy()]))
    site.set("from_", exp.From(this=derived(inner, alias)))
    for node in partials.placeholders(site):
        node.replace(column(alias, partials.name_of(node)))
    # A column that is neither a key nor inside an aggregate (one that depends on a key) is not there any more.
    if any(node.table and node.table != alias for part in cores.around(site) for node in part.find_all(exp.Column)):
        return None
    return copy
