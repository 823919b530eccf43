"""Executable form of pre_aggregate_before_join.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules import core as cores
from rules.aggregate.grouping import group_first
from rules.aggregate.partial import Partials
from rules.facts import Facts
from rules.sites import copied, relation_name, relations, selects


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """For each grouped join: its rows are grouped once by what the remaining joins and the grouping need, before these
    joins are made. Which relations go first is tried in a few ways; first everywhere at once, then one by one."""
    places: list[tuple[exp.Select, list[frozenset[str]]]] = []
    for select in selects(query):
        if cores.splittable(select, facts) and cores.own_aggregates(select):
            found = [core for core in _cores(select, facts) if _changed(query, [(select, core)], facts) is not None]
            if found:
                places.append((select, found))
    if len(places) > 1:
        for turn in range(max(len(found) for _, found in places)):
            rewritten = _changed(query, [(select, found[min(turn, len(found) - 1)]) for select, found in places], facts)
            if rewritten is not None:
                yield rewritten
    for select, found in places:
        for core in found:
            rewritten = _changed(query, [(select, core)], facts)
            if rewritten is not None:
                yield rewritten


def _cores(select: exp.Select, facts: Facts) -> list[frozenset[str]]:
    """Sets of relations to be grouped first: those that feed the aggregates, once with everything that filters, once
    with what filters and is not grouped by, once by themselves."""
    joined = cores.neighbours(select)
    base: set[str] = set()
    for call in cores.own_aggregates(select):
        base |= Partials.needed(call, select)
    if not base or not cores.connected(base, joined):
        base = {cores.biggest(select, facts)}
    everyone = {relation_name(item) for item in relations(select)}
    filtering = cores.filtered(select)
    grouping = set().union(*(cores.reads(part, select) for part in cores.around(select))) - base
    found: list[frozenset[str]] = []
    for wanted in (filtering, filtering - grouping, set(), everyone - grouping, _also(base, joined, filtering)):
        core = cores.grown(base, wanted, joined)
        if core != everyone and core not in found:
            found.append(core)
    return found


def _also(base: set[str], joined: dict[str, set[str]], filtering: set[str]) -> set[str]:
    """What filters, with the relations that lie between it and the base."""
    between = {name for name, others in joined.items() if others & base and others & (filtering - base)}
    return filtering | between


def _changed(query: exp.Query, places: list[tuple[exp.Select, frozenset[str]]], facts: Facts) -> exp.Query | None:
    copy, sites = copied(query, *(select for select, _ in places))
    # Innermost first: what stands around one is copied with what has been done to it.
    for site, (select, core) in reversed(list(zip(sites, places, strict=True))):
        if group_first(copy, site, select, core, facts) is None:
            return None
    return copy
