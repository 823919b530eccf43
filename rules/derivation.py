"""Derives ``Dependencies`` from query trees: of base tables, joined rows, and the outputs of queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from sqlglot import exp

from rewriter.catalog import Column, Table
from rules.build import aggregates, conjuncts, is_single_row
from rules.dependencies import (
    NOTHING,
    Dependencies,
    Dependency,
    Name,
    Names,
    filled_with_null,
    projected,
    renamed,
    restricted,
    together,
    with_key,
)
from rules.sites import grouping_sets, owner, relation_name, relations

# Functions that may give several rows for one: those that are known to, and all that are not known.
_MULTIPLYING = (exp.Anonymous, exp.UDTF, exp.Explode, exp.GenerateSeries, exp.ExplodingGenerateSeries)
_STRICT = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Like, exp.ILike)
_KINDS = ("", "CROSS", "INNER", "OUTER")


class Derivation:
    """Asks ``table`` for the base table and ``definition`` for the query behind a FROM/JOIN item, ``type_of`` for the
    type of a column where it stands."""

    def __init__(
        self,
        table: Callable[[exp.Expr], Table | None],
        definition: Callable[[exp.Expr], exp.Query | None],
        type_of: Callable[[exp.Expr], exp.DataType],
        deterministic: Callable[[exp.Expr], bool],
    ) -> None:
        self.table = table
        self.definition = definition
        self.type_of = type_of
        self.deterministic = deterministic

    def rows(self, select: exp.Select) -> Dependencies:
        """What holds on the joined and filtered rows of a SELECT, before it groups."""
        items = relations(select)
        names = [relation_name(item) for item in items]
        joins = select.args.get("joins") or []
        if not items or len(set(names)) != len(names) or not all(names) or select.args.get("laterals"):
            return NOTHING
        if any(join.args.get("using") or join.args.get("method") or join.kind not in _KINDS for join in joins):
            return NOTHING
        if any(not isinstance(item, (exp.Table, exp.Subquery)) or item.args.get("joins") for item in items):
            return NOTHING
        current = self.item(items[0])
        for join in joins:
            other = self.item(join.this)
            parts = conjuncts(join.args.get("on"))
            if join.side == "LEFT":
                found = self._lookup(other, parts, current)
                current = together([current, filled_with_null(other)])
                if found is not None:
                    current = _and(current, found)
            elif join.side == "RIGHT":
                current = together([filled_with_null(current), other])
            elif join.side == "FULL":
                current = together([filled_with_null(current), filled_with_null(other)])
            else:
                current = self._filtered(select, together([current, other]), parts)
        return self._filtered(select, current, conjuncts(select.args.get("where")))

    def _lookup(self, other: Dependencies, parts: list[exp.Expr], before: Dependencies) -> Dependency | None:
        """A left join that finds one row at most: what the join condition reads on the left determines that row."""
        read: set[Name] = set()
        fixed: set[Name] = set()
        for part in parts:
            if part.find(exp.Query) is not None or not self.deterministic(part):
                return None
            read |= {(node.table, node.name) for node in part.find_all(exp.Column)} - other.columns
            for one, another in self._equalities([part]):
                fixed |= {one, another} & other.columns if {one, another} & before.columns else set()
        if not read <= before.columns or not other.unique(fixed):
            return None
        return Dependency(frozenset(read), other.columns)

    def _filtered(self, select: exp.Select, rows: Dependencies, parts: Iterable[exp.Expr]) -> Dependencies:
        """``rows`` for which all ``parts`` are true."""
        constants: dict[Name, exp.Expr] = {}
        present: set[Name] = set()
        parts = list(parts)
        for part in parts:
            present |= {(node.table, node.name) for node in _rejecting_null(part) if owner(node) is select}
            if isinstance(part, exp.EQ):
                for one, other in ((part.this, part.expression), (part.expression, part.this)):
                    if isinstance(one, exp.Column) and isinstance(other, exp.Literal) and owner(one) is select:
                        constants.setdefault((one.table, one.name), other)
        equalities = [pair for pair in self._equalities(parts) if set(pair) <= rows.columns]
        constants = {name: value for name, value in constants.items() if name in rows.columns}
        return restricted(rows, equalities, constants, present & rows.columns)

    def _equalities(self, parts: Iterable[exp.Expr]) -> list[tuple[Name, Name]]:
        """Columns equated with columns of the same type: across types ``=`` does not mean the same value."""
        found = []
        for part in parts:
            if (
                isinstance(part, exp.EQ)
                and isinstance(part.this, exp.Column)
                and isinstance(part.expression, exp.Column)
            ):
                types = self.type_of(part.this), self.type_of(part.expression)
                if types[0] == types[1] and not types[0].is_type("unknown", "null"):
                    one, other = part.this, part.expression
                    found.append(((one.table, one.name), (other.table, other.name)))
        return found

    def item(self, item: exp.Expr) -> Dependencies:
        """What holds on the rows of a FROM/JOIN item, its columns under the item's name."""
        name = relation_name(item)
        table = self.table(item)
        alias = item.args.get("alias")
        if item.args.get("sample") or (alias is not None and alias.columns):
            return NOTHING
        if table is not None:
            return _of_table(table, name)
        definition = self.definition(item)
        if definition is None or definition.args.get("alias_column_names"):
            return NOTHING
        outputs = self.outputs(definition)
        moved = renamed(outputs, {column: (name, column[1]) for column in outputs.columns})
        known = (*moved.functional, *(Dependency(key, moved.columns) for key in moved.keys))
        return replace(moved, functional=known, keys=frozenset(), complete=(moved.keys,))

    def outputs(self, query: exp.Expr) -> Dependencies:
        """What holds on the rows that a query returns, its columns under the empty relation name."""
        if isinstance(query, exp.Subquery):
            return self.outputs(query.this) if isinstance(query.this, exp.Query) else NOTHING
        if isinstance(query, exp.SetOperation):
            return self._set_operation(query)
        if not isinstance(query, exp.Select):
            return NOTHING
        names = query.named_selects
        if len(set(names)) != len(names) or any(output.find(*_MULTIPLYING) for output in query.selects):
            return NOTHING
        shown = frozenset(("", name) for name in names)
        if is_single_row(query):
            return with_key(Dependencies(columns=shown), frozenset())
        found = self._select(query, shown)
        distinct = query.args.get("distinct")
        if distinct is not None and not distinct.args.get("on"):
            found = with_key(found, shown)
        limit = query.args.get("limit")
        if isinstance(limit, exp.Limit) and limit.expression.name == "1":
            found = with_key(found, frozenset())
        return found

    def _select(self, query: exp.Select, shown: Names) -> Dependencies:
        group = query.args.get("group")
        if grouping_sets(query) or (group is not None and not group.expressions):
            return Dependencies(columns=shown)
        rows = self.rows(query)
        columns: dict[str, Name] = {}
        computed: dict[str, Names] = {}
        constants: dict[str, exp.Expr] = {}
        counted: set[str] = set()
        for output in query.selects:
            name, value = output.alias_or_name, output.unalias()
            read = list(value.find_all(exp.Column))
            own = all(owner(node) is query and (node.table, node.name) in rows.columns for node in read)
            if isinstance(value, exp.Column) and own:
                columns[name] = (value.table, value.name)
            elif isinstance(value, exp.Literal):
                constants[name] = value
            elif isinstance(value, exp.Count) and group is not None:
                counted.add(name)
            elif (
                own
                and not aggregates(value)
                and value.find(exp.Query, exp.Window) is None
                and self.deterministic(value)
            ):
                computed[name] = frozenset((node.table, node.name) for node in read)
        if group is None:
            if any(aggregates(output) for output in query.selects) or query.args.get("having"):
                return with_key(Dependencies(columns=shown), frozenset())
            found = projected(rows, columns, computed, constants, ())
            return _showing(found, shown)
        # Groups are no rows of the joined relations: their keys are the grouping columns alone.
        keys = [
            (key.table, key.name) if isinstance(key, exp.Column) and owner(key) is query else None
            for key in group.expressions
        ]
        inner = replace(rows, keys=frozenset(), complete=())
        if None not in keys:
            inner = replace(inner, keys=frozenset({frozenset(key for key in keys if key is not None)}))
        found = projected(inner, columns, computed, constants, counted)
        found = _showing(found, shown)
        # What tells the groups apart determines their aggregates as well.
        return replace(found, functional=(*found.functional, *(Dependency(key, shown) for key in found.keys)))

    def _set_operation(self, query: exp.SetOperation) -> Dependencies:
        names = query.named_selects
        shown = frozenset(("", name) for name in names)
        if len(set(names)) != len(names) or query.args.get("by_name"):
            return NOTHING
        sides = []
        for side in (query.this, query.expression):
            if not isinstance(side, exp.Query) or len(side.named_selects) != len(names):
                return NOTHING
            claims = self.outputs(side)
            given = dict(zip((("", name) for name in side.named_selects), (("", name) for name in names), strict=True))
            sides.append(renamed(claims, given) if claims.columns else NOTHING)
        left, right = sides
        if isinstance(query, (exp.Intersect, exp.Except)) and left.columns:
            found = left  # a selection of the left side's rows
        else:
            found = Dependencies(columns=shown, not_null=left.not_null & right.not_null)
        return with_key(found, shown) if query.args.get("distinct") else found


def _showing(found: Dependencies, shown: Names) -> Dependencies:
    """The claims on all outputs, those included of which nothing is known."""
    return replace(found, columns=shown)


def _and(rows: Dependencies, step: Dependency) -> Dependencies:
    return replace(rows, functional=(*rows.functional, step))


def _of_table(table: Table, name: str) -> Dependencies:
    columns = frozenset((name, column.name) for column in table.columns)
    not_null = frozenset((name, column.name) for column in table.columns if not column.nullable)
    keys = {frozenset((name, column) for column in table.primary_key)} if table.primary_key else set()
    for unique in table.unique:
        known = [table.column(column) for column in unique]
        if all(isinstance(column, Column) and not column.nullable for column in known):
            keys.add(frozenset((name, column) for column in unique))
    return Dependencies(
        columns=columns,
        not_null=not_null,
        functional=tuple(Dependency(key, columns) for key in keys),
        complete=(frozenset(keys),),
    )


def _rejecting_null(part: exp.Expr) -> list[exp.Column]:
    """The columns that are not NULL where the condition is true."""
    if isinstance(part, exp.Paren):
        return _rejecting_null(part.this)
    if isinstance(part, _STRICT):
        return [side for side in (part.this, part.expression) if isinstance(side, exp.Column)]
    if isinstance(part, (exp.Between, exp.In)):
        return [part.this] if isinstance(part.this, exp.Column) else []
    if isinstance(part, exp.Not) and isinstance(part.this, exp.Is) and isinstance(part.this.expression, exp.Null):
        return [part.this.this] if isinstance(part.this.this, exp.Column) else []
    return []
