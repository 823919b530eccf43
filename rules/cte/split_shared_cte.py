"""Executable form of split_shared_cte.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from rules.build import drop_conjunct, fresh_name, identifier
from rules.cte.filters import on_outputs, own_filters, semi_joins
from rules.cte.push import absorbed, pushed
from rules.facts import Facts
from rules.sites import copied, references, relation_name


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """A CTE read several times, each time under a filter of its own, becomes one CTE per filter: once by the readers'
    filters on it alone, and once also by the filtered tables that they join to it."""
    for clause in list(query.find_all(exp.With)):
        if clause.args.get("recursive"):
            continue
        for cte in clause.expressions:
            readers = references(query, cte)
            if len(readers) < 2 or cte.args["alias"].columns or not isinstance(cte.this, exp.Query):
                continue
            if not facts.deterministic(cte.this):
                continue
            own = [own_filters(item, facts) for item in readers]
            joined = [semi_joins(item, facts) for item in readers]
            nothing: list[list[exp.Expr]] = [[] for _ in readers]
            for more in (nothing, joined) if any(joined) else (nothing,):
                if all(parts or others for parts, others in zip(own, more, strict=True)):
                    rewritten = _split(query, cte, readers, own, more, facts)
                    if rewritten is not None:
                        yield rewritten


def _split(
    query: exp.Query,
    cte: exp.CTE,
    readers: Sequence[exp.Table],
    own: Sequence[list[exp.Expr]],
    joined: Sequence[list[exp.Expr]],
    facts: Facts,
) -> exp.Query | None:
    copy, nodes = copied(query, cte, *readers, *(part for parts in own for part in parts))
    shared, sites, parts = nodes[0], nodes[1 : len(readers) + 1], nodes[len(readers) + 1 :]
    assert isinstance(shared, exp.CTE)
    clause = shared.parent
    assert isinstance(clause, exp.With)
    # Said above and below, a filter would count twice when the planner guesses how many rows it leaves.
    for part in parts:
        if absorbed(shared.this, on_outputs(part)):
            drop_conjunct(part)
    made: dict[str, exp.CTE] = {}
    effect = False
    remaining = iter(parts)
    for site, originals, more in zip(sites, own, joined, strict=True):
        demands = [*(on_outputs(next(remaining)) for _ in originals), *more]
        key = " AND ".join(sorted(part.sql() for part in demands))
        if key not in made:
            body = pushed(shared.this, demands, facts)
            if body is None:
                return None
            effect = effect or body.sql() != shared.this.sql()
            name = fresh_name(copy, f"{shared.alias}_{len(made) + 1}", [other.alias for other in made.values()])
            made[key] = exp.CTE(this=body, alias=exp.TableAlias(this=identifier(name)))
        alias = relation_name(site)
        site.set("this", identifier(made[key].alias))
        site.set("alias", exp.TableAlias(this=identifier(alias)))
    if not effect or len(made) < 2:
        return None
    entries: list[exp.Expr] = []
    for entry in clause.expressions:
        entries.extend(made.values() if entry is shared else [entry])
    clause.set("expressions", entries)
    return copy
