"""A core of a SELECT's relations grouped in a query of its own, whose partial aggregates the SELECT combines."""

from __future__ import annotations

from sqlglot import exp

from rules import core as cores
from rules.aggregate.partial import Partials
from rules.build import column, derived, fresh_name
from rules.facts import Facts
from rules.sites import relation_name, relations


def group_first(
    copy: exp.Query, site: exp.Select, select: exp.Select, core: frozenset[str], facts: Facts
) -> exp.Subquery | None:
    """Group the relations of ``core`` first. ``site``, which is ``select`` in the copy, is changed in place; the new
    derived table is returned. None, and a copy that is spoilt, when that cannot be done."""
    partials = Partials(facts, select, site, core)
    calls, originals = cores.own_aggregates(site), cores.own_aggregates(select)
    combined = [partials.combine(call, original) for call, original in zip(calls, originals, strict=True)]
    if any(new is None for new in combined):
        return None
    alias = fresh_name(copy, "grouped")
    for call, new in zip(calls, combined, strict=True):
        assert new is not None
        _swap(call, new)
    made = cores.cut(site, core, cores.around(site))
    if not made.names and site.args.get("group") is not None:
        return None
    only = [relation for relation in relations(select) if relation_name(relation) in core]
    if len(only) == 1 and facts.unique(only[0], {name for _, name in made.names}):
        return None  # every group would be a single row
    made.inner.set("expressions", [*made.outputs(), *partials.outputs(set(made.names.values()))])
    if made.names:
        made.inner.set("group", exp.Group(expressions=made.columns()))
    else:
        # Without keys there would be one row where there are none to be joined.
        made.inner.set("having", exp.Having(this=exp.GT(this=exp.Count(this=exp.Star()), expression=_zero())))
    relation = derived(made.inner, alias)
    cores.attach(site, core, made, relation)
    for node in partials.placeholders(site):
        node.replace(column(alias, partials.name_of(node)))
    return relation


def _swap(call: exp.Expr, new: exp.Expr) -> None:
    """Replace an aggregate call, and the FILTER around it."""
    place = call.parent if isinstance(call.parent, exp.Filter) and call.parent.this is call else call
    assert place is not None
    if isinstance(place.parent, (exp.Binary, exp.Neg)) and isinstance(new, exp.Binary):
        new = exp.Paren(this=new)
    place.replace(new)


def _zero() -> exp.Expr:
    return exp.Literal.number(0)
