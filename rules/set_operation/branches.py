"""Branches of a UNION ALL, and what a relation that is one may be asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlglot import exp

from rules.build import identifier
from rules.facts import Facts
from rules.sites import find_cte, references

_CARRIED = ("with_", "order", "limit", "offset", "by_name")


def branches(query: exp.Expr) -> list[exp.Select] | None:
    """The SELECTs of a chain of UNION ALL, two or more; None for any other query. A branch with LIMIT stands
    in brackets, which make it something else than a SELECT."""
    if not isinstance(query, exp.Union) or query.args.get("distinct"):
        return None
    if any(query.args.get(clause) for clause in _CARRIED):
        return None
    found: list[exp.Select] = []
    for side in (query.this, query.expression):
        if isinstance(side, exp.Select) and not side.args.get("with_"):
            found.append(side)
            continue
        below = branches(side)
        if below is None:
            return None
        found.extend(below)
    width = len(found[0].selects)
    return found if all(len(branch.selects) == width for branch in found) else None


def with_names(branch: exp.Select, outputs: Sequence[exp.Expr], names: Sequence[str]) -> exp.Select:
    """The branch with these ``outputs``, which are some of its own, under new ``names``."""
    copy = branch.copy()
    new = [exp.alias_(output.unalias().copy(), identifier(name)) for output, name in zip(outputs, names, strict=True)]
    copy.set("expressions", new)
    return copy


def read_alone(query: exp.Query, item: exp.Expr, facts: Facts) -> exp.Query | None:
    """The query behind a FROM/JOIN item that nothing else reads: a derived table or a CTE read once. None also when its
    columns are renamed or it contains something volatile."""
    body = facts.definition(item)
    alias = item.args.get("alias")
    if body is None or (alias is not None and alias.columns) or not facts.deterministic(body):
        return None
    cte = find_cte(item)
    if cte is not None:
        clause = cte.parent
        recursive = isinstance(clause, exp.With) and clause.args.get("recursive")
        if recursive or cte.args["alias"].columns or len(references(query, cte)) != 1:
            return None
    return body


def type_of(parts: Sequence[exp.Select], position: int, facts: Facts) -> exp.DataType | None:
    """The type of an output that all branches give the same, known type; None when they do not. Otherwise the union
    converts, and a comparison inside a branch could mean something else than one with the union's column."""
    types = [facts.type(part.selects[position].unalias()) for part in parts]
    if types[0].is_type("unknown", "null") or any(other != types[0] for other in types[1:]):
        return None
    return types[0]


def captured(query: exp.Query, moved: exp.Expr) -> bool:
    """Whether a table named in ``moved`` might mean another relation elsewhere in the query: a base table that has the
    name of some CTE, or a CTE whose name is given twice."""
    names = Counter(cte.alias.lower() for cte in query.find_all(exp.CTE))
    for table in moved.find_all(exp.Table):
        if table.args.get("db"):
            continue
        if names[table.name.lower()] > (0 if find_cte(table) is None else 1):
            return True
    return False
