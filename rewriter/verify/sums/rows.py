"""Rows of a query while it is translated: what each FROM item's columns are there, and what names mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from sqlglot import exp

from rewriter.catalog import Catalog, Table
from rewriter.verify.sums.scalar import node_value
from rewriter.verify.sums.sorts import Unsupported, common, converted, require_identity, sort_of_expr, sort_of_text
from rewriter.verify.sums.substitution import refreshed_term
from rewriter.verify.sums.terms import (
    FALSE,
    Bag,
    Cell,
    Exists,
    Expr,
    Term,
    Variable,
    conjuncts,
    every,
    fresh,
    same,
    value_of,
)

Columns = dict[str, Expr]
MOST_TERMS = 48  # a sum of more products is not worth comparing


@dataclass(frozen=True)
class Translated:
    """A query's rows. ``names`` of its outputs (None: not known). The terms' outputs beyond those are the sort keys,
    each with its direction in ``order``."""

    bag: Bag
    names: tuple[str | None, ...]
    order: tuple[tuple[bool, bool], ...] = ()


@dataclass(frozen=True)
class Row:
    """One product of FROM items: which columns each relation has there."""

    variables: tuple[Variable, ...] = ()
    conditions: tuple[Expr, ...] = ()
    relations: tuple[tuple[str, Columns], ...] = ()

    def with_condition(self, condition: Expr) -> Row:
        return replace(self, conditions=(*self.conditions, *conjuncts(condition)))

    def term(self, outputs: Sequence[Expr] = ()) -> Term:
        return Term(self.variables, tuple(dict.fromkeys(self.conditions)), tuple(outputs))

    @property
    def impossible(self) -> bool:
        return FALSE in self.conditions


@dataclass(frozen=True)
class Cte:
    body: exp.Expr
    renamed: tuple[str, ...]
    visible: dict[str, Cte]


class Queries(Protocol):
    """What a scope needs of the translation around it."""

    catalog: Catalog
    dialect: str

    def fold(self, identifier: exp.Expr) -> str: ...
    def bag_of(self, query: exp.Expr, outer: Scope | None, ctes: dict[str, Cte]) -> Translated: ...
    def rows_of(self, values: exp.Values, outer: Scope | None) -> list[Columns]: ...
    def limited(self, query: exp.Expr, found: Translated, key: Callable[[exp.Expr, Term], Expr]) -> Translated: ...


@dataclass
class Scope:
    """What names mean at one place of a SELECT; unknown ones are looked up in the query around it."""

    translator: Queries
    relations: tuple[tuple[str, Columns], ...]
    outer: Scope | None
    ctes: dict[str, Cte]
    replacements: dict[str, Expr] = field(default_factory=dict)
    hidden: bool = False  # after grouping: columns have a meaning only through ``replacements``
    aggregates: Callable[[exp.Expr], Expr] | None = None
    windows: Callable[[exp.Window], Expr] | None = None
    aliases: dict[str, exp.Expr] = field(default_factory=dict)

    @property
    def dialect(self) -> str:
        return self.translator.dialect

    def named(self, node: exp.Column) -> tuple[str, str] | None:
        """The relation and column that a name means in this SELECT; None when it is not of this SELECT."""
        fold = self.translator.fold
        name = fold(node.this)
        if node.args.get("db") is not None:
            raise Unsupported("a column named with its schema")
        if node.table:
            relation = fold(node.args["table"])
            found = [columns for alias, columns in self.relations if alias == relation]
            return (relation, name) if found and name in found[0] else None
        holders = [alias for alias, columns in self.relations if name in columns]
        merged = [alias for alias in holders if alias == ""]
        if len(holders) > 1 and not merged:
            raise Unsupported(f"the ambiguous column {name}")
        return ((merged or holders)[0], name) if holders else None

    def column(self, node: exp.Column) -> Expr:
        if isinstance(node.this, exp.Star):
            raise Unsupported("a star in an expression")
        known = self.named(node)
        if known is not None:
            if self.hidden:
                found = self.replacements.get(".".join(known))
                if found is None:
                    raise Unsupported(f"the column {'.'.join(known)}, which is not grouped")
                return found
            return next(columns for alias, columns in self.relations if alias == known[0])[known[1]]
        alias = self.aliases.get(self.translator.fold(node.this)) if not node.table else None
        if alias is not None:
            return node_value(alias, self)
        if self.outer is None:
            raise Unsupported(f"the unknown column {node.sql()}")
        return self.outer.column(node)

    def replaced(self, node: exp.Expr) -> Expr | None:
        if not self.replacements or isinstance(node, (exp.Literal, exp.Column)):
            return None
        return self.replacements.get(self.text(node))

    def text(self, node: exp.Expr) -> str:
        """The expression's text with its columns named in full: equal texts mean equal values here."""
        copy = node.copy()
        while isinstance(copy, (exp.Paren, exp.Alias)):
            copy = copy.this
        for column in list(copy.find_all(exp.Column)):
            known = None if isinstance(column.this, exp.Star) else self.named(column)
            if known is not None:
                full = exp.column(exp.to_identifier(known[1], quoted=True), exp.to_identifier(known[0], quoted=True))
                if column is copy:
                    return ".".join(known)
                column.replace(full)
        return copy.sql(dialect=self.dialect)

    def subquery(self, query: exp.Expr) -> Bag:
        return shown(self.translator.bag_of(query, self, self.ctes))

    def aggregate(self, node: exp.Expr) -> Expr:
        if self.aggregates is None:
            raise Unsupported(f"the aggregate {node.sql()} in this place")
        return self.aggregates(node)

    def window(self, node: exp.Window) -> Expr:
        if self.windows is None:
            raise Unsupported("a window function in this place")
        return self.windows(node)


def possible(rows: list[Row]) -> list[Row]:
    """The rows that may occur; one at least, which tells the columns."""
    return [row for row in rows if not row.impossible] or rows[:1]


def renamed_row(row: Row, names: Sequence[str]) -> Row:
    ((alias, columns),) = row.relations
    old = list(columns)
    if len(names) > len(old):
        raise Unsupported("more column aliases than columns")
    new = [*names, *old[len(names) :]]
    return replace(row, relations=((alias, dict(zip(new, columns.values(), strict=True))),))


def refreshed_row(row: Row) -> Row:
    ((alias, columns),) = row.relations
    term = refreshed_term(row.term(list(columns.values())))
    return Row(term.variables, term.conditions, ((alias, dict(zip(columns, term.outputs, strict=True))),))


def shown(found: Translated) -> Bag:
    """Without the sort keys: order inside a query means nothing."""
    width = len(found.names)
    return Bag(tuple(replace(term, outputs=term.outputs[:width]) for term in found.bag.terms))


def of_sorts(bag: Bag, sorts: Sequence[str]) -> Bag:
    return Bag(
        tuple(
            replace(
                term, outputs=tuple(converted(value, sort) for value, sort in zip(term.outputs, sorts, strict=True))
            )
            for term in bag.terms
        )
    )


def equal_rows(bag: Bag, values: Sequence[Expr]) -> Expr:
    """Some row of the bag has these values."""
    terms = []
    for term in bag.terms:
        equal = every([same(one, two) for one, two in zip(term.outputs, values, strict=True)])
        terms.append(Term(term.variables, (*term.conditions, *conjuncts(equal)), ()))
    return Exists(Bag(tuple(terms)))


def distinct_rows(bag: Bag) -> Bag:
    """Each row once."""
    if not bag.terms:
        return bag
    if len(bag.terms) == 1 and not bag.terms[0].variables:
        return bag
    sorts = [common([sort_of_expr(t.outputs[at]) for t in bag.terms]) for at in range(len(bag.terms[0].outputs))]
    require_identity(sorts)
    variables = tuple(fresh(None, sort) for sort in sorts)
    outputs = tuple(map(value_of, variables))
    return Bag((Term(variables, (equal_rows(of_sorts(bag, sorts), outputs),), outputs),))


def table_key(table: Table) -> str:
    """The name under which variables over a base table know it."""
    return table.name if table.schema is None else f"{table.schema}.{table.name}"


def table_columns(table: Table, row: int, dialect: str) -> dict[str, Cell]:
    """The columns of a row of a base table, by the names under which queries know them."""
    return {
        column.name.lower() if dialect == "duckdb" else column.name: Cell(
            row,
            column.name,
            sort_of_text(column.type, dialect),
            column.nullable and column.name not in table.primary_key,
        )
        for column in table.columns
    }


def base_table(item: exp.Table, translator: Queries, ctes: Mapping[str, Cte]) -> Table | None:
    """The base table that a FROM item names; None for a CTE, a view and what the catalog does not have."""
    name = translator.fold(item.this)
    schema = translator.fold(item.args["db"]) if item.args.get("db") is not None else None
    if schema is None and name in ctes:
        return None
    table = translator.catalog.find(name, schema)
    if table is None and translator.dialect == "duckdb":
        alike = [
            known
            for known in translator.catalog.tables
            if known.name.lower() == name and (schema is None or (known.schema or "").lower() == schema)
        ]
        table = alike[0] if len(alike) == 1 else None
    return None if table is None or table.is_view else table


def ordered(select: exp.Select) -> list[exp.Expr]:
    """The sort keys of a SELECT."""
    order = select.args.get("order")
    return list(order.expressions) if order is not None else []
