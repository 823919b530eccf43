"""Views: read as the derived tables that they stand for."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types

from rewriter.catalog import Catalog, Column, Table
from rewriter.engines.inline import base_tables
from rewriter.errors import QueryRejected, UnknownName
from rewriter.parse.functions import check_functions
from rewriter.parse.qualify import fold, mapping, qualify, relation
from rewriter.parse.statement import parse_statement

MAX_VIEW_DEPTH = 20


def expand_views(tree: exp.Query, catalog: Catalog) -> exp.Query:
    """A copy in which every view is the derived table that it stands for. Raises UnknownName, QueryRejected."""
    copy = tree.copy()
    for _ in range(MAX_VIEW_DEPTH):
        views = []
        for node in base_tables(copy):
            table = relation(node, catalog)
            if table.definition is not None:
                views.append((node, table))
        if not views:
            return copy
        for node, table in views:
            derived = _derived(node, table, catalog)
            _keep_from_capture(derived, node, table, catalog)
            node.replace(derived)
    raise QueryRejected(f"views are nested more than {MAX_VIEW_DEPTH} levels deep", code="too-deep")


def _keep_from_capture(derived: exp.Subquery, node: exp.Table, table: Table, catalog: Catalog) -> None:
    """A view reads its own relations, not the CTEs of the statement that happen to have their names."""
    visible = set()
    ancestor: exp.Expr | None = node
    while ancestor is not None:
        with_ = ancestor.args.get("with_")
        visible |= {cte.alias for cte in with_.expressions} if with_ is not None else set()
        ancestor = ancestor.parent
    for inner in base_tables(derived.this):
        if inner.db or inner.name not in visible:
            continue
        schema = relation(inner, catalog).schema
        if schema is None:
            raise QueryRejected(
                f"the view {table.name} reads {inner.name}, which is also the name of a CTE",
                hint="give the CTE another name",
                code="unsupported-feature",
            )
        inner.set("db", exp.to_identifier(schema, quoted=True))
        if not inner.alias:
            inner.set("alias", exp.TableAlias(this=exp.to_identifier(inner.name, quoted=True)))


def _derived(node: exp.Table, table: Table, catalog: Catalog) -> exp.Subquery:
    assert table.definition is not None
    try:
        body = parse_statement(table.definition, catalog.dialect)
        check_functions(body, catalog)
    except QueryRejected as error:
        raise QueryRejected(
            f"the view {table.name} cannot be used: {error.message}", hint=error.hint, code=error.code
        ) from None
    alias = node.args.get("alias")
    name = alias.name if alias is not None and alias.name else node.name
    # The view's own column names win over those of its SELECT (CREATE VIEW v(a, b)); the user's alias list over both.
    given = list(alias.columns) if alias is not None else []
    columns = [exp.to_identifier(column.name, quoted=True) for column in table.columns]
    return exp.Subquery(
        this=fold(body, catalog),
        alias=exp.TableAlias(this=exp.to_identifier(name, quoted=True), columns=[*given, *columns[len(given) :]]),
        joins=node.args.get("joins"),
    )


def with_view_columns(catalog: Catalog) -> Catalog:
    """``catalog`` with the columns of its views told from their definitions.

    A view that cannot be treated keeps what it has; whoever reads it hears why.
    """
    tables = []
    for table in catalog.tables:
        if table.definition is not None:
            try:
                body = parse_statement(table.definition, catalog.dialect)
                qualified = qualify(expand_views(fold(body, catalog), catalog), catalog)
                typed = annotate_types(qualified, schema=mapping(catalog, qualified), dialect=catalog.dialect)
            except (QueryRejected, UnknownName, SqlglotError):
                pass
            else:
                given = [column.name for column in table.columns]
                names = given if len(given) == len(typed.selects) else typed.named_selects
                columns = (
                    Column(name, _type_text(output.type, catalog.dialect))
                    for name, output in zip(names, typed.selects, strict=True)
                )
                table = replace(table, columns=tuple(columns))
        tables.append(table)
    return replace(catalog, tables=tuple(tables))


def _type_text(type_: exp.DataType | None, dialect: str) -> str:
    if type_ is None or type_.is_type(exp.DType.UNKNOWN, exp.DType.NULL):
        return "unknown"
    return type_.sql(dialect=dialect)
