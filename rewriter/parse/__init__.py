"""Text to Query: guard, statement check, function policy, qualification, parameters, keys; DDL to Catalog."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from rewriter.catalog import Catalog
from rewriter.engines.inline import base_tables
from rewriter.errors import QueryRejected
from rewriter.lexical import without_terminator
from rewriter.parse import postgres_grammar
from rewriter.parse.determinism import reasons
from rewriter.parse.functions import check_function, check_functions
from rewriter.parse.guard import allow_recursion, check_text, too_deep
from rewriter.parse.keys import exact_key, group_key, named_tables, rewrite_key
from rewriter.parse.names import output_names, with_output_names
from rewriter.parse.parameters import describe, normalise
from rewriter.parse.qualify import fold, qualify
from rewriter.parse.schema import catalog_of, read_schema
from rewriter.parse.statement import parse_statement
from rewriter.parse.views import expand_views
from rewriter.records import Query

__all__ = ["catalog_of", "check", "exact_key", "named", "named_tables", "parse", "parse_candidate", "read_schema"]


def parse(sql: str, catalog: Catalog, *, dialect: str | None = None) -> Query:
    """One statement as a Query qualified against ``catalog``.

    ``dialect`` is that of the text when it differs from the catalog's. Raises QueryRejected, UnknownName.
    """
    check_text(sql)
    allow_recursion()
    try:
        statement, markers = normalise(without_terminator(sql))
        if dialect is not None and dialect != catalog.dialect:
            statement = parse_statement(statement, dialect).sql(dialect=catalog.dialect)
        tree = parse_statement(statement, catalog.dialect)
        if catalog.dialect == "postgres":
            _check_reading(statement, tree, catalog)
        check_functions(tree, catalog)
        folded = fold(tree, catalog)
        stated = expand_views(folded, catalog)
        # DuckDB compares names without case and returns them as written.
        qualified = qualify(stated, catalog, output_names(tree) if catalog.dialect == "duckdb" else None)
        return Query(
            text=sql,
            statement=statement,
            dialect=catalog.dialect,
            tree=qualified,
            stated=stated,
            catalog=catalog,
            columns=tuple(qualified.named_selects),
            group_key=group_key(statement, tree, catalog.dialect),
            rewrite_key=rewrite_key(folded, stated, catalog),
            parameters=describe(tree, markers, catalog.dialect),
            nondeterminism=reasons(qualified),
        )
    except RecursionError:
        raise too_deep() from None


def check(sql: str, dialect: str) -> None:
    """What can be said against a statement without a catalog: that it is not one SELECT, cannot be read, is too large
    or too deep. Raises QueryRejected."""
    check_text(sql)
    allow_recursion()
    try:
        statement, _ = normalise(without_terminator(sql))
        parse_statement(statement, dialect)
    except RecursionError:
        raise too_deep() from None


def _check_reading(statement: str, tree: exp.Query, catalog: Catalog) -> None:
    """Postgres's own grammar must allow the statement and read it as we do; see ``postgres_grammar``."""
    reading = postgres_grammar.read(statement)
    for schema, name in postgres_grammar.functions(reading):
        check_function(schema, name, catalog)
    try:
        ours = postgres_grammar.read(tree.sql(dialect="postgres"))
        place = postgres_grammar.difference(reading, ours)
    except QueryRejected:
        place = "statement"
    if place is not None:
        raise QueryRejected(
            f"the statement uses something that our parser reads differently from Postgres (in a {place})",
            hint="write it in another way, such as with more brackets or standard functions",
            code="unsupported-feature",
        )


def named(query: Query, names: tuple[str, ...]) -> Query:
    """``query`` with the output names that the engine itself reports for the statement."""
    if names == query.columns or len(names) != len(query.columns):
        return query
    return replace(query, tree=with_output_names(query.tree.copy(), names), columns=names)


def parse_candidate(sql: str, query: Query) -> exp.Query:
    """A foreign rewrite of ``query`` (a model's, a peer's) as a qualified tree.

    It passes the same guard as any statement, and may read only relations and parameters that the original has (a
    rewrite that reads more leaks what the original did not ask for). Raises QueryRejected, UnknownName.
    """
    rewrite = parse(sql, query.catalog)
    allowed = {(table.db, table.name) for table in base_tables(query.tree)}
    for table in base_tables(rewrite.tree):
        if (table.db, table.name) not in allowed:
            raise QueryRejected(
                f"the rewrite reads {table.name!r}, which the original does not", code="unsupported-statement"
            )
    if len(rewrite.parameters) > len(query.parameters):
        raise QueryRejected("the rewrite has parameters that the original has not", code="unsupported-statement")
    return rewrite.tree
