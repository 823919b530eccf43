"""Executable form of unread_outputs_removed.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.build import aggregates
from rules.facts import Facts
from rules.sites import copied, owner, references, relation_name


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """All columns of CTEs and derived tables that no reader reads are taken out, together."""
    unread: list[exp.Expr] = []
    for node in query.find_all(exp.CTE, exp.Subquery):
        body = node.this
        alias = node.args.get("alias")
        if not isinstance(body, exp.Select) or not _open(body):
            continue
        if not isinstance(alias, exp.TableAlias) or alias.columns:
            continue
        if isinstance(node, exp.CTE):
            readers: list[exp.Expr] = list(references(query, node))
            clause = node.parent
            if isinstance(clause, exp.With) and clause.args.get("recursive"):
                continue
        else:
            readers = [node]
        if not readers or not all(_reads_by_name(reader) for reader in readers):
            continue
        read = set().union(*(_read(reader) for reader in readers))
        gone = [output for output in body.selects if output.alias_or_name not in read and _idle(output, facts)]
        if len(gone) == len(body.selects) or (body.args.get("group") is None and _all_aggregates(body, gone)):
            gone = gone[1:]
        unread.extend(gone)
    if not unread:
        return
    copy, sites = copied(query, *unread)
    dropped = {id(site) for site in sites}
    for select in {id(site.parent): site.parent for site in sites}.values():
        assert isinstance(select, exp.Select)
        select.set("expressions", [output for output in select.expressions if id(output) not in dropped])
    yield copy


def _open(body: exp.Select) -> bool:
    """Whether the number of rows does not depend on the outputs, and no clause may name them."""
    return not any(body.args.get(clause) for clause in ("distinct", "order", "qualify", "windows"))


def _reads_by_name(reader: exp.Expr) -> bool:
    alias = reader.args.get("alias")
    inside = isinstance(reader.parent, (exp.From, exp.Join)) and isinstance(reader.parent.parent, exp.Select)
    return inside and not (alias is not None and alias.columns)


def _read(reader: exp.Expr) -> set[str]:
    """The names of the columns that are read of a FROM/JOIN item."""
    assert reader.parent is not None
    select, name = reader.parent.parent, relation_name(reader)
    assert isinstance(select, exp.Select)
    return {node.name for node in select.find_all(exp.Column) if node.table == name and owner(node) is select}


def _idle(output: exp.Expr, facts: Facts) -> bool:
    """Whether taking an output out cannot change the number of rows: functions that return sets can."""
    return output.find(exp.Anonymous, exp.UDTF, exp.Explode, exp.Star) is None and facts.deterministic(output)


def _all_aggregates(body: exp.Select, gone: list[exp.Expr]) -> bool:
    """Whether the last aggregate of a query without GROUP BY would go: it is what makes one row of all."""
    with_aggregates = [output for output in body.selects if aggregates(output)]
    return bool(with_aggregates) and all(any(output is other for other in gone) for output in with_aggregates)
