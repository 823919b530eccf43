"""Executable form of split_shared_cte.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.build import conjuncts, fresh_name
from rules.cte.push import pushed
from rules.facts import Facts
from rules.sites import copied, owner, references, relation_name, with_of


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """A CTE read several times, each time under a filter of its own, becomes one CTE per filter."""
    for clause in list(query.find_all(exp.With)):
        if clause.args.get("recursive"):
            continue
        for cte in clause.expressions:
            readers = references(query, cte)
            if len(readers) < 2 or cte.args["alias"].columns or not isinstance(cte.this, exp.Query):
                continue
            if not facts.deterministic(cte.this):
                continue
            filters = [_filters(reader) for reader in readers]
            if all(filters) and all(facts.deterministic(part) for parts in filters for part in parts):
                rewritten = _split(query, cte, readers)
                if rewritten is not None:
                    yield rewritten


def _filters(reader: exp.Table) -> list[exp.Expr]:
    """The conjuncts of the reader's SELECT that read its columns alone."""
    select = reader.find_ancestor(exp.Select)
    if not isinstance(select, exp.Select):
        return []
    if any(join.side in ("RIGHT", "FULL") for join in select.args.get("joins") or []):
        return []
    if any(join.side == "LEFT" and join.this is reader for join in select.args.get("joins") or []):
        return []
    name = relation_name(reader)
    found = []
    for part in conjuncts(select.args.get("where")):
        columns = list(part.find_all(exp.Column))
        if not columns or part.find(exp.Query, exp.AggFunc, exp.Window) is not None:
            continue
        if all(column.table == name and owner(column) is select for column in columns):
            found.append(part)
    return found


def _split(query: exp.Query, cte: exp.CTE, readers: list[exp.Table]) -> exp.Query | None:
    copy, nodes = copied(query, cte, *readers)
    shared, *sites = nodes
    assert isinstance(shared, exp.CTE)
    clause = shared.parent
    assert isinstance(clause, exp.With)
    made: dict[str, exp.CTE] = {}
    effect = False
    for site in sites:
        assert isinstance(site, exp.Table)
        alias = relation_name(site)
        parts = []
        for part in _filters(site):
            local = part.copy()
            for column in local.find_all(exp.Column):
                column.set("table", None)
            parts.append(local)
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
    owner_query = clause.parent
    assert isinstance(owner_query, exp.Query)
    assert with_of(owner_query) is clause
    return copy
