"""Executable form of hoist_repeated_subquery.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from sqlglot import exp

from rules.build import fresh_name, identifier
from rules.cte.placing import add_in_front
from rules.facts import Facts
from rules.sites import copied, find_cte, outer_columns, owner, relation_name, relations

LEAST = 2  # relations, or a grouping: what is not worth a CTE is left where it stands


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """The same subquery standing in several places becomes one materialised CTE that all of them read. First all groups
    of equal subqueries, outermost first, then each group alone."""
    groups = _repeated(query, facts)
    if len(groups) > 1:
        yield _hoisted(query, groups)
    for group in groups:
        yield _hoisted(query, [group])


def _repeated(query: exp.Query, facts: Facts) -> list[list[exp.Subquery]]:
    """Lists of equal subqueries in FROM, in IN and as scalar values; none inside one that is taken already."""
    equal: dict[str, list[exp.Subquery]] = defaultdict(list)
    for node in query.find_all(exp.Subquery):
        body = node.this
        if not isinstance(body, exp.Query) or isinstance(node.parent, exp.SetOperation) or not _worth(body):
            continue
        alias = node.args.get("alias")
        if (isinstance(alias, exp.TableAlias) and alias.columns) or node.args.get("sample"):
            continue
        if outer_columns(body) or not facts.deterministic(body) or _reads_cte(body) or body.args.get("with_"):
            continue
        equal[_meaning(body)].append(node)
    groups = [nodes for nodes in equal.values() if len(nodes) > 1]
    taken: set[int] = set()
    result = []
    for nodes in groups:
        free = [node for node in nodes if not any(id(above) in taken for above in _above(node))]
        if len(free) > 1:
            result.append(free)
            taken |= {id(node) for node in free}
    return result


def _above(node: exp.Expr) -> Iterator[exp.Expr]:
    above = node.parent
    while above is not None:
        yield above
        above = above.parent


def _worth(body: exp.Query) -> bool:
    return len(list(body.find_all(exp.Table))) >= LEAST or body.find(exp.Group, exp.AggFunc, exp.Distinct) is not None


def _reads_cte(body: exp.Query) -> bool:
    """Whether the subquery reads a CTE: it might not be visible where the new one is put."""
    return any(find_cte(table) is not None for table in body.find_all(exp.Table))


def _meaning(body: exp.Query) -> str:
    """The subquery's text with its relations called by their order: the same for subqueries that differ in names."""
    copy = body.copy()
    every = list(copy.find_all(exp.Select))
    names = {
        id(select): {relation_name(item): f"{number}_{place}" for place, item in enumerate(relations(select))}
        for number, select in enumerate(every)
    }
    owned = [(column, owner(column)) for column in copy.find_all(exp.Column)]
    for column, select in owned:
        if select is not None:
            column.set("table", exp.to_identifier(names[id(select)][column.table], quoted=True))
    for select in every:
        for item in relations(select):
            new = names[id(select)][relation_name(item)]
            item.set("alias", exp.TableAlias(this=exp.to_identifier(new, quoted=True)))
    return copy.sql()


def _hoisted(query: exp.Query, groups: Sequence[Sequence[exp.Subquery]]) -> exp.Query:
    copy, sites = copied(query, *(node for group in groups for node in group))
    remaining = iter(sites)
    made: list[exp.CTE] = []
    for group in groups:
        own = [next(remaining) for _ in group]
        name = fresh_name(copy, "shared", [cte.alias for cte in made])
        body = own[0].this
        made.append(exp.CTE(this=body.copy(), alias=exp.TableAlias(this=identifier(name)), materialized=True))
        for site in own:
            _read(site, name, body)
    add_in_front(copy, made)
    return copy


def _read(site: exp.Subquery, name: str, body: exp.Query) -> None:
    """Make one place read the CTE, in place."""
    if isinstance(site.parent, (exp.From, exp.Join)):
        site.replace(exp.Table(this=identifier(name), alias=exp.TableAlias(this=identifier(site.alias))))
        return
    outputs = [
        exp.alias_(exp.column(identifier(output), table=identifier(name)), identifier(output))
        for output in body.named_selects
    ]
    inner = exp.Select(expressions=outputs)
    inner.set("from_", exp.From(this=exp.Table(this=identifier(name), alias=exp.TableAlias(this=identifier(name)))))
    site.set("this", inner)
