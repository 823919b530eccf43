"""Places in a query: visiting them, and changing one in a fresh copy of the whole query."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from sqlglot import exp

Node = TypeVar("Node", bound=exp.Expr)


def selects(query: exp.Query) -> Iterator[exp.Select]:
    """Every SELECT of the query, outermost first: set-operation branches, CTE bodies, derived tables, subqueries."""
    yield from query.find_all(exp.Select)


def copied(query: exp.Query, *nodes: Node) -> tuple[exp.Query, list[Node]]:
    """A fresh copy of the whole query, and the nodes of the copy that stand where ``nodes`` stand in ``query``."""
    paths = [_path(query, node) for node in nodes]
    copy = query.copy()
    return copy, [_follow(copy, path) for path in paths]  # type: ignore[misc]


def _path(root: exp.Expr, node: exp.Expr) -> list[tuple[str, int | None]]:
    path: list[tuple[str, int | None]] = []
    while node is not root:
        assert node.parent is not None
        assert node.arg_key is not None
        path.append((node.arg_key, node.index))
        node = node.parent
    return path[::-1]


def _follow(root: exp.Expr, path: list[tuple[str, int | None]]) -> exp.Expr:
    node = root
    for key, index in path:
        value = node.args[key]
        node = value if index is None else value[index]
    return node


def relations(select: exp.Select) -> list[exp.Expr]:
    """The FROM/JOIN items of one SELECT, in order: tables, derived tables, LATERALs."""
    first = select.args.get("from_")
    items = [first.this] if first is not None else []
    return [*items, *(join.this for join in select.args.get("joins") or [])]


def relation_name(item: exp.Expr) -> str:
    """The name under which a FROM/JOIN item's columns are read."""
    return item.alias_or_name


def only_inner(select: exp.Select) -> bool:
    """Whether the SELECT's relations are joined by comma, CROSS JOIN and INNER JOIN alone, without LATERAL or USING."""
    if select.args.get("laterals"):
        return False
    for join in select.args.get("joins") or []:
        if join.side or join.kind not in ("", "CROSS", "INNER") or join.args.get("using") or join.args.get("method"):
            return False
    return all(
        isinstance(item, (exp.Table, exp.Subquery)) and not item.args.get("joins") and not item.args.get("sample")
        for item in relations(select)
    )


def grouping_sets(select: exp.Expr) -> bool:
    """Whether a SELECT groups by ROLLUP, CUBE, GROUPING SETS or ALL: its keys may be NULL where the data is not."""
    group = select.args.get("group")
    if group is None:
        return False
    listed = any(isinstance(key, (exp.Rollup, exp.Cube, exp.GroupingSets, exp.Tuple)) for key in group.expressions)
    return listed or any(group.args.get(kind) for kind in ("rollup", "cube", "grouping_sets", "all", "totals"))


def own_nodes(select: exp.Query, kind: type[Node]) -> Iterator[Node]:
    """Nodes of ``kind`` that belong to this query itself and not to a query nested in it."""
    for node in select.walk(prune=lambda child: child is not select and isinstance(child, exp.Query)):
        if isinstance(node, kind) and node is not select:
            yield node


def outer_columns(subquery: exp.Query) -> list[exp.Column]:
    """The columns inside ``subquery`` (at any depth) that belong to a query around it."""
    found = []
    for column in subquery.find_all(exp.Column):
        if not column.table:
            continue
        scope: exp.Expr | None = column
        while scope is not None:
            if isinstance(scope, exp.Select) and any(relation_name(item) == column.table for item in relations(scope)):
                break
            if scope is subquery:
                found.append(column)
                break
            scope = scope.parent
    return found


def owner(column: exp.Column) -> exp.Select | None:
    """The SELECT whose FROM/JOIN items a column belongs to."""
    node: exp.Expr | None = column
    while node is not None:
        if isinstance(node, exp.Select) and any(relation_name(item) == column.table for item in relations(node)):
            return node
        node = node.parent
    return None


def with_of(query: exp.Query) -> exp.With | None:
    """The WITH clause of a query."""
    clause = query.args.get("with_")
    return clause if isinstance(clause, exp.With) else None


def find_cte(reference: exp.Expr) -> exp.CTE | None:
    """The common table expression that a table node names, by SQL's scoping; None when it names a base table."""
    if not isinstance(reference, exp.Table) or reference.args.get("db"):
        return None
    node: exp.Expr | None = reference
    inside: exp.Expr | None = None
    while node is not None:
        if isinstance(node, exp.CTE):
            inside = node
        clause = with_of(node) if isinstance(node, exp.Query) else None
        for cte in clause.expressions if clause is not None else ():
            if inside is not None and cte is inside:
                # Only earlier siblings are visible inside a CTE, and itself when it is recursive.
                if clause is not None and clause.args.get("recursive") and inside.alias == reference.name:
                    return None
                break
            if isinstance(cte, exp.CTE) and cte.alias == reference.name:
                return cte
        node = node.parent
    return None


def references(query: exp.Query, cte: exp.CTE) -> list[exp.Table]:
    """Every table node in ``query`` that names ``cte``."""
    return [table for table in query.find_all(exp.Table) if table.name == cte.alias and find_cte(table) is cte]
