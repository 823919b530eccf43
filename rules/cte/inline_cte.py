"""Executable form of inline_cte.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.build import derived
from rules.facts import Facts
from rules.sites import copied, references, relation_name


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """Each reference to a CTE replaced by its body as a derived table."""
    for clause in list(query.find_all(exp.With)):
        if clause.args.get("recursive"):
            continue
        for cte in clause.expressions:
            readers = references(query, cte)
            # A materialised CTE was fenced on purpose, by its author or by another rule.
            if (
                not readers
                or cte.args.get("materialized")
                or cte.args["alias"].columns
                or not isinstance(cte.this, exp.Query)
            ):
                continue
            if not facts.deterministic(cte.this) or _names_hidden(cte, readers):
                continue
            copy, nodes = copied(query, cte, *readers)
            shared, *sites = nodes
            assert isinstance(shared, exp.CTE)
            for site in sites:
                table = derived(shared.this.copy(), relation_name(site))
                table.set("joins", site.args.get("joins"))
                site.replace(table)
            new_clause = shared.parent
            assert isinstance(new_clause, exp.With)
            rest = [entry for entry in new_clause.expressions if entry is not shared]
            if rest:
                new_clause.set("expressions", rest)
            elif new_clause.parent is not None:
                new_clause.parent.set("with_", None)
            yield copy


def _names_hidden(cte: exp.CTE, readers: list[exp.Table]) -> bool:
    """Whether some WITH between a reader and the CTE redefines a name that the body reads."""
    read = {table.name for table in cte.this.find_all(exp.Table)}
    clause = cte.parent
    for reader in readers:
        node: exp.Expr | None = reader.parent
        while node is not None and node.args.get("with_") is not clause:
            inner = node.args.get("with_")
            if isinstance(inner, exp.With) and any(entry.alias in read for entry in inner.expressions):
                return True
            node = node.parent
    if isinstance(clause, exp.With):
        position = next(index for index, entry in enumerate(clause.expressions) if entry is cte)
        return any(entry.alias in read for entry in clause.expressions[position:])
    return False
