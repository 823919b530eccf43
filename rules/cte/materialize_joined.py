"""Executable form of materialize_joined.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules import core as cores
from rules.build import fresh_name, identifier
from rules.facts import Facts
from rules.sites import copied, relation_name, relations, selects

ONE_BY_ONE = 3  # filtered relations that are also tried alone with the big one


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """For each join of three relations or more: the biggest relation is first joined to relations that filter it, in a
    materialised CTE of its own; once to all of these, then to each alone. First everywhere at once, then one by one."""
    places: list[tuple[exp.Select, list[frozenset[str]]]] = []
    for select in selects(query):
        if len(relations(select)) < 3 or not cores.splittable(select, facts) or _recursive(select):
            continue
        found = _cores(select, cores.biggest(select, facts))
        if found:
            places.append((select, found))
    if len(places) > 1:
        yield _rewritten(query, [(select, found[0]) for select, found in places])
    for select, found in places:
        for core in found:
            yield _rewritten(query, [(select, core)])


def _recursive(select: exp.Select) -> bool:
    clause = select.find_ancestor(exp.With)
    while clause is not None:
        if clause.args.get("recursive"):
            return True
        clause = clause.find_ancestor(exp.With)
    return False


def _cores(select: exp.Select, largest: str) -> list[frozenset[str]]:
    joined = cores.neighbours(select)
    everyone = {relation_name(item) for item in relations(select)}
    filtering = sorted(cores.filtered(select) & joined[largest])
    wanted = [filtering, *([name] for name in filtering[:ONE_BY_ONE])]
    found: list[frozenset[str]] = []
    for names in wanted:
        core = cores.grown([largest], names, joined)
        if 1 < len(core) < len(everyone) and core not in found:
            found.append(core)
    return found


def _rewritten(query: exp.Query, places: list[tuple[exp.Select, frozenset[str]]]) -> exp.Query:
    copy, sites = copied(query, *(select for select, _ in places))
    # Innermost first: what stands around one is copied with what has been done to it.
    for site, (_, core) in reversed(list(zip(sites, places, strict=True))):
        name = fresh_name(copy, "joined")
        made = cores.cut(site, core, cores.around(site))
        made.inner.set("expressions", made.outputs() or [exp.alias_(exp.Literal.number(1), "one")])
        relation = exp.Table(this=identifier(name), alias=exp.TableAlias(this=identifier(name)))
        cores.attach(site, core, made, relation)
        _add(site, exp.CTE(this=made.inner, alias=exp.TableAlias(this=identifier(name)), materialized=True))
    return copy


def _add(select: exp.Select, cte: exp.CTE) -> None:
    """Put the CTE into the WITH clause nearest around ``select``, behind all that its query may read, in place."""
    home: exp.Expr = select
    while True:
        parent = home.parent
        if parent is None or isinstance(parent, exp.CTE):
            break
        if isinstance(home, exp.Query) and home.args.get("with_") is not None:
            break
        home = parent
    if isinstance(home.parent, exp.CTE) and home.args.get("with_") is None:
        # In front of the CTE that reads it.
        clause = home.parent.parent
        assert isinstance(clause, exp.With)
        entries = list(clause.expressions)
        entries.insert(entries.index(home.parent), cte)
        clause.set("expressions", entries)
        return
    clause = home.args.get("with_")
    if clause is None:
        home.set("with_", exp.With(expressions=[cte]))
    else:
        clause.append("expressions", cte)
