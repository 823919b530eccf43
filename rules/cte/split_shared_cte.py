"""Executable form of split_shared_cte.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from rules.build import fresh_name
from rules.cte.filters import own_filters, semi_joins
from rules.cte.push import pushed
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
            filters = [own_filters(reader, facts) for reader in readers]
            joined = [semi_joins(reader, facts) for reader in readers]
            both = [[*own, *other] for own, other in zip(filters, joined, strict=True)]
            for demands in (filters, both) if any(joined) else (filters,):
                if all(demands):
                    rewritten = _split(query, cte, readers, demands)
                    if rewritten is not None:
                        yield rewritten


def _split(
    query: exp.Query, cte: exp.CTE, readers: Sequence[exp.Table], demands: Sequence[list[exp.Expr]]
) -> exp.Query | None:
    copy, nodes = copied(query, cte, *readers)
    shared, *sites = nodes
    assert isinstance(shared, exp.CTE)
    clause = shared.parent
    assert isinstance(clause, exp.With)
    made: dict[str, exp.CTE] = {}
    effect = False
    for site, parts in zip(sites, demands, strict=True):
        assert isinstance(site, exp.Table)
        alias = relation_name(site)
        key = " AND ".join(sorted(part.sql() for part in parts))
        if key not in made:
            body = pushed(shared.this, parts)
            if body is None:
                return None
            effect = effect or body.sql() != shared.this.sql()
            name = fresh_name(copy, f"{shared.alias}_{len(made) + 1}", [other.alias for other in made.values()])
            made[key] = exp.CTE(this=body, alias=exp.TableAlias(this=exp.to_identifier(name)))
        site.set("this", exp.to_identifier(made[key].alias))
        site.set("alias", exp.TableAlias(this=exp.to_identifier(alias)))
    if not effect or len(made) < 2:
        return None
    entries: list[exp.Expr] = []
    for entry in clause.expressions:
        entries.extend(made.values() if entry is shared else [entry])
    clause.set("expressions", entries)
    return copy
