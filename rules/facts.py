"""Facts: what a rule may ask about a query. Every answer is conservative: when unsure, the answer that makes a rule
refrain (nullable: True, unique: False)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types

from rewriter.catalog import Catalog, Column, Table
from rules.build import aggregates, conjuncts, inner_conjuncts, is_single_row
from rules.dependencies import Dependencies
from rules.derivation import Derivation
from rules.sites import find_cte, grouping_sets, relation_name, relations

_NULL_IF_ANY = (exp.Add, exp.Sub, exp.Mul, exp.Neg, exp.Paren, exp.Cast, exp.Predicate, exp.Connector, exp.Not)
_NULL_IF_ANY_FUNCTIONS = (exp.Abs, exp.Lower, exp.Upper, exp.Length, exp.Round, exp.Floor, exp.Ceil, exp.Trim)
Keys = frozenset[frozenset[str]]
ONE_ROW: Keys = frozenset({frozenset[str]()})


class Facts:
    """Derived from the catalog and from the tree that a node stands in. Holds no state of a query: nodes find their
    scope through their parents, so every method takes nodes of a whole, qualified query tree."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._derivation = Derivation(self.table, self.definition, self.type, self.deterministic)

    @property
    def dialect(self) -> str:
        return self.catalog.dialect

    @property
    def version(self) -> tuple[int, ...]:
        """The engine's version as numbers, such as (18, 4); empty when there is no live engine."""
        return tuple(int(part) for part in re.findall(r"\d+", self.catalog.engine_version))

    def table(self, source: exp.Expr) -> Table | None:
        """The base table that a FROM/JOIN item reads, None for CTE references, subqueries and unknown relations."""
        if not isinstance(source, exp.Table) or find_cte(source) is not None:
            return None
        return self.catalog.find(source.name, source.db or None)

    def definition(self, source: exp.Expr) -> exp.Query | None:
        """The query behind a FROM/JOIN item: the body of a CTE reference or of a derived table; None for tables."""
        if isinstance(source, exp.Subquery):
            return source.this if isinstance(source.this, exp.Query) else None
        cte = find_cte(source)
        return cte.this if cte is not None and isinstance(cte.this, exp.Query) else None

    def source(self, column: exp.Column) -> tuple[exp.Expr, exp.Select] | None:
        """The FROM/JOIN item that a column belongs to, and the SELECT it stands in; None when it cannot be told."""
        node: exp.Expr | None = column
        while node is not None:
            if isinstance(node, exp.Select):
                for item in relations(node):
                    if relation_name(item) == column.table:
                        return item, node
            node = node.parent
        return None

    def dependencies(self, select: exp.Select) -> Dependencies:
        """What holds on the joined and filtered rows of a SELECT, before it groups: functional dependencies, constants,
        equal columns, not-NULL columns, what tells rows apart. Columns are (relation, column)."""
        return self._derivation.rows(select)

    def outputs(self, source: exp.Expr) -> Dependencies:
        """The same of the rows of a FROM/JOIN item (columns under its name) or of a query (under the empty name)."""
        if isinstance(source, (exp.Select, exp.SetOperation)):
            return self._derivation.outputs(source)
        return self._derivation.item(source)

    def nullable(self, expression: exp.Expr) -> bool:
        """Whether the expression, evaluated where it stands (after the joins of its SELECT), may be NULL."""
        if isinstance(expression, exp.Column):
            return self._column_nullable(expression)
        if isinstance(expression, (exp.Literal, exp.Boolean, exp.Count, exp.Exists)):
            return False
        if isinstance(expression, exp.Is):
            return False
        if isinstance(expression, exp.Alias):
            return self.nullable(expression.this)
        if isinstance(expression, exp.Coalesce):
            return all(self.nullable(part) for part in (expression.this, *expression.expressions))
        if isinstance(expression, exp.Case):
            default = expression.args.get("default")
            branches = [branch.args["true"] for branch in expression.args["ifs"]]
            return default is None or any(self.nullable(part) for part in (default, *branches))
        if isinstance(expression, (exp.Sum, exp.Avg, exp.Min, exp.Max)):
            select = expression.find_ancestor(exp.Select)
            grouped = isinstance(select, exp.Select) and _plain_group(select)
            bare = not isinstance(expression.parent, (exp.Filter, exp.Window, exp.WithinGroup))
            return not (grouped and bare) or self.nullable(expression.this)
        if isinstance(expression, exp.Cast):
            return self.nullable(expression.this)
        if isinstance(expression, (*_NULL_IF_ANY, *_NULL_IF_ANY_FUNCTIONS)):
            if expression.find(exp.Query) is not None:
                return True
            parts = [part for part in expression.iter_expressions() if not isinstance(part, (exp.DataType, exp.Var))]
            return any(self.nullable(part) for part in parts)
        return True

    def _column_nullable(self, column: exp.Column) -> bool:
        found = self.source(column)
        if found is None:
            return True
        item, select = found
        if _null_extended(item, select) or grouping_sets(select):
            return True
        table = self.table(item)
        if table is not None:
            known = table.column(column.name)
            return known is None or known.nullable
        definition = self.definition(item)
        return definition is None or self._output_nullable(definition, _position(item, definition, column.name))

    def _output_nullable(self, query: exp.Query, position: int | None) -> bool:
        if position is None:
            return True
        if isinstance(query, exp.SetOperation):
            branches = (query.this, query.expression)
            return any(not isinstance(part, exp.Query) or self._output_nullable(part, position) for part in branches)
        if isinstance(query, exp.Subquery):
            return not isinstance(query.this, exp.Query) or self._output_nullable(query.this, position)
        if not isinstance(query, exp.Select) or position >= len(query.selects):
            return True
        name = query.selects[position].alias_or_name
        return self.nullable(query.selects[position]) and ("", name) not in self.outputs(query).not_null

    def unique(self, source: exp.Expr, columns: Iterable[str]) -> bool:
        """Whether no two rows of a relation (FROM/JOIN item or query) agree on ``columns``, NULLs counted as equal."""
        given = frozenset(columns)
        if any(key <= given for key in self.keys(source)):
            return True
        name = "" if isinstance(source, exp.Query) and not isinstance(source, exp.Subquery) else relation_name(source)
        return self.outputs(source).unique((name, column) for column in given)

    def keys(self, source: exp.Expr) -> Keys:
        """Known sets of output columns of a relation that are unique in the sense of ``unique``. The empty set among
        them means: at most one row."""
        table = self.table(source)
        if table is not None:
            return frozenset(self._table_keys(table))
        if isinstance(source, exp.Select):
            return self._select_keys(source)
        if isinstance(source, exp.SetOperation):
            distinct = bool(source.args.get("distinct"))
            return frozenset({frozenset(source.named_selects)}) if distinct else frozenset()
        definition = self.definition(source)
        if definition is None:
            return frozenset()
        alias = source.args.get("alias")
        if alias is not None and alias.columns:
            return frozenset()
        return self.keys(definition)

    @staticmethod
    def _table_keys(table: Table) -> Iterable[frozenset[str]]:
        if table.primary_key:
            yield frozenset(table.primary_key)
        for names in table.unique:
            columns = [table.column(name) for name in names]
            if all(isinstance(column, Column) and not column.nullable for column in columns):
                yield frozenset(names)

    def _select_keys(self, select: exp.Select) -> Keys:
        limit = select.args.get("limit")
        if is_single_row(select) or (isinstance(limit, exp.Limit) and limit.expression.name == "1"):
            return ONE_ROW
        outputs = {_text(output.unalias()): output.alias_or_name for output in reversed(select.selects)}
        found: set[frozenset[str]] = set()
        distinct = select.args.get("distinct")
        if distinct is not None and not distinct.args.get("on"):
            found.add(frozenset(output.alias_or_name for output in select.selects))
        group = select.args.get("group")
        if group is not None:
            if _plain_group(select) and all(_text(key) in outputs for key in group.expressions):
                found.add(frozenset(outputs[_text(key)] for key in group.expressions))
            return frozenset(found)
        if any(aggregates(output) for output in select.selects) or select.args.get("having"):
            return ONE_ROW
        if select.args.get("laterals") or any(output.find(exp.Unnest) for output in select.selects):
            return frozenset(found)
        found |= {
            frozenset(outputs[_text(column)] for column in key)
            for key in self._joined_keys(select)
            if all(_text(column) in outputs for column in key)
        }
        return frozenset(found)

    def _joined_keys(self, select: exp.Select) -> list[list[exp.Column]]:
        """Keys of the joined relations of a SELECT, as lists of qualified columns."""
        remaining = {relation_name(item): item for item in relations(select)}
        if any(join.side in ("RIGHT", "FULL") for join in select.args.get("joins") or []):
            return []
        # A relation that some key of its own, equated with other relations' columns, finds at most once per row of
        # those does not multiply rows, and adds nothing to the key.
        for join in reversed(select.args.get("joins") or []):
            item = join.this
            conditions = conjuncts(join.args.get("on")) if join.side == "LEFT" else _all_conjuncts(select)
            name = relation_name(item)
            if len(remaining) > 1 and self._found_once(item, name, conditions, set(remaining) - {name}):
                del remaining[name]
        first = relations(select)[0] if relations(select) else None
        if first is not None and len(remaining) > 1:
            name = relation_name(first)
            if self._found_once(first, name, inner_conjuncts_of(select), set(remaining) - {name}):
                del remaining[name]
        combined: list[list[exp.Column]] = [[]]
        for name, item in remaining.items():
            keys = sorted(self.keys(item), key=lambda key: (len(key), sorted(key)))[:3]
            combined = [
                [*prefix, *(exp.column(column, table=name) for column in sorted(key))]
                for prefix in combined
                for key in keys
            ]
        return combined if remaining else []

    def _found_once(self, item: exp.Expr, name: str, conditions: list[exp.Expr], others: set[str]) -> bool:
        fixed = set()
        for condition in conditions:
            if isinstance(condition, exp.EQ):
                for one, other in ((condition.this, condition.expression), (condition.expression, condition.this)):
                    if isinstance(one, exp.Column) and one.table == name:
                        tables = {column.table for column in other.find_all(exp.Column)}
                        if tables <= others and other.find(exp.Query) is None:
                            fixed.add(one.name)
        return self.unique(item, fixed)

    def references(self, child: exp.Expr, columns: Iterable[str], parent: exp.Expr, referenced: Iterable[str]) -> bool:
        """Whether a declared foreign key says that non-NULL ``columns`` of ``child`` always find a ``parent`` row."""
        table, target = self.table(child), self.table(parent)
        if table is None or target is None:
            return False
        wanted = set(zip(columns, referenced, strict=True))
        return any(
            self.catalog.find(key.table, key.schema or table.schema) == target
            and set(zip(key.columns, key.referenced, strict=True)) == wanted
            for key in table.foreign_keys
        )

    def type(self, expression: exp.Expr) -> exp.DataType:
        """The expression's type; ``UNKNOWN`` when it cannot be told."""
        unknown = exp.DataType.build("unknown")
        if isinstance(expression, exp.Column):
            return self._column_type(expression) or unknown
        copy = expression.copy()
        for original, column in zip(
            list(expression.find_all(exp.Column)), list(copy.find_all(exp.Column)), strict=True
        ):
            known = self._column_type(original)
            if known is None:
                return unknown
            column.replace(exp.Cast(this=exp.Null(), to=known.copy()))
        try:
            annotated = annotate_types(copy, dialect=self.dialect)
        except SqlglotError:
            return unknown
        return annotated.type if isinstance(annotated.type, exp.DataType) else unknown

    def _column_type(self, column: exp.Column) -> exp.DataType | None:
        found = self.source(column)
        if found is None:
            return None
        item, _ = found
        table = self.table(item)
        if table is not None:
            known = table.column(column.name)
            try:
                return exp.DataType.build(known.type, dialect=self.dialect) if known is not None else None
            except SqlglotError:
                return None
        definition = self.definition(item)
        position = _position(item, definition, column.name) if definition is not None else None
        while isinstance(definition, (exp.SetOperation, exp.Subquery)):
            definition = definition.this
        if position is None or not isinstance(definition, exp.Select):
            return None
        type_ = self.type(definition.selects[position].unalias())
        return None if type_.is_type("unknown") else type_

    def rows(self, source: exp.Expr) -> int | None:
        """Estimated rows of a base table."""
        table = self.table(source)
        return table.rows if table is not None else None

    def deterministic(self, expression: exp.Expr) -> bool:
        """Whether the expression contains no volatile function, unknown functions counted as volatile."""
        for node in expression.find_all(exp.Func):
            if isinstance(node, (exp.Rand, exp.Uuid)):
                return False
            if (
                isinstance(node, exp.Anonymous)
                and self.catalog.functions.get(node.name.lower(), "volatile") == "volatile"
            ):
                return False
        return expression.find(exp.TableSample) is None


def inner_conjuncts_of(select: exp.Select) -> list[exp.Expr]:
    """Conditions that hold for every row of the joined relations when all joins are inner; none otherwise."""
    if any(join.side for join in select.args.get("joins") or []):
        return []
    return inner_conjuncts(select)


def _all_conjuncts(select: exp.Select) -> list[exp.Expr]:
    """Conditions that hold for every result row: WHERE, and ON of inner joins when no outer join undoes them."""
    if any(join.side in ("RIGHT", "FULL") for join in select.args.get("joins") or []):
        return conjuncts(select.args.get("where"))
    parts = conjuncts(select.args.get("where"))
    for join in select.args.get("joins") or []:
        if not join.side:
            parts.extend(conjuncts(join.args.get("on")))
    return parts


def _text(node: exp.Expr) -> str:
    return node.sql(normalize=False, comments=False)


def _plain_group(select: exp.Select) -> bool:
    group = select.args.get("group")
    return group is not None and bool(group.expressions) and not grouping_sets(select)


def _null_extended(item: exp.Expr, select: exp.Select) -> bool:
    """Whether an outer join of the SELECT may fill the item's columns with NULL."""
    behind = False
    for join in reversed(select.args.get("joins") or []):
        if join.this is item:
            return behind or join.side in ("LEFT", "FULL")
        behind = behind or join.side in ("RIGHT", "FULL")
    return behind


def _position(item: exp.Expr, definition: exp.Query, name: str) -> int | None:
    """The output of ``definition`` that ``name`` denotes when read through the FROM/JOIN item."""
    alias = item.args.get("alias")
    names = (
        [column.name for column in alias.columns] if alias is not None and alias.columns else definition.named_selects
    )
    cte = find_cte(item)
    if cte is not None and not (alias is not None and alias.columns):
        given = cte.args["alias"].columns
        names = [column.name for column in given] if given else names
    return names.index(name) if names.count(name) == 1 else None
