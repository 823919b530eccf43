"""A parsed tree against a catalog: every column names its relation, stars are expanded.

sqlglot's ``qualify`` does most of it. Before it runs, names that it would resolve differently from the engine are
bound here: in GROUP BY, HAVING, WHERE and inside ORDER BY expressions an input column wins over an output alias of the
same name (Postgres documentation of SELECT; DuckDB does the same).
"""

from __future__ import annotations

import difflib
import re

from sqlglot import exp
from sqlglot.errors import OptimizeError, SchemaError, SqlglotError
from sqlglot.optimizer.qualify import qualify as sqlglot_qualify
from sqlglot.optimizer.scope import Scope, traverse_scope
from sqlglot.schema import MappingSchema

from rewriter.catalog import Catalog, Table
from rewriter.engines.inline import base_tables
from rewriter.errors import QueryRejected, UnknownName
from rewriter.parse.names import name_unnamed, output_names, with_output_names

_SAFE = re.compile(r"[a-z_][a-z0-9_$]*$")


def fold(tree: exp.Query, catalog: Catalog) -> exp.Query:
    """A copy with unquoted identifiers folded as the engine folds them (DuckDB: quoted ones too)."""
    copy = tree.copy()
    for node in copy.find_all(exp.Identifier):
        if not node.args.get("quoted") or catalog.dialect == "duckdb":
            node.set("this", node.name.lower())
    return copy


def relation(node: exp.Table, catalog: Catalog) -> Table:
    """The catalog's relation that ``node`` names. Raises UnknownName with close matches."""
    table = catalog.find(node.name, node.db or None)
    if table is not None:
        return table
    known = [entry.name for entry in catalog.tables]
    shown = f"{node.db}.{node.name}" if node.db else node.name
    raise UnknownName(
        f"there is no table {shown!r}", hint=_similar(node.name, known) or "check the name and the schema"
    )


def qualify(tree: exp.Query, catalog: Catalog, names: list[str] | None = None) -> exp.Query:
    """A qualified copy of a folded tree without views. ``names`` are those of its outputs where they differ from what
    the folded tree says.

    Raises UnknownName (relation or column), QueryRejected (unsupported-feature).
    """
    copy = tree.copy()
    for node in base_tables(copy):
        relation(node, catalog)
    names = names or output_names(copy)
    if catalog.dialect == "postgres":
        name_unnamed(copy)
    schema = mapping(catalog, copy)
    try:
        _bind_input_columns(copy, catalog)
        qualified = sqlglot_qualify(
            copy,
            dialect=catalog.dialect,
            schema=schema,
            quote_identifiers=False,
            identify=False,
            validate_qualify_columns=True,
        )
    except (OptimizeError, SchemaError) as error:
        raise _unknown_column(error, copy, catalog) from None
    except SqlglotError as error:
        raise QueryRejected(
            f"the statement uses something that cannot be treated: {_first_line(error)}", code="unsupported-feature"
        ) from None
    if not isinstance(qualified, exp.Query):
        raise QueryRejected("the statement cannot be qualified", code="unsupported-feature")
    if any(isinstance(select, exp.Star) or select.is_star for select in qualified.selects):
        raise QueryRejected("a * cannot be expanded", hint="name the columns", code="unsupported-feature")
    _check_bound(qualified)
    if names is not None:
        if len(names) != len(qualified.selects):
            raise QueryRejected("the output columns cannot be told", code="unsupported-feature")
        qualified = with_output_names(qualified, names)
    _quote_where_needed(qualified, catalog)
    return qualified


def _check_bound(tree: exp.Query) -> None:
    """Raises QueryRejected for a column that still does not name its relation; an item of ORDER BY may be an output."""
    for column in list(tree.find_all(exp.Column)):
        if column.table:
            continue
        clause = column.find_ancestor(exp.Order, exp.Distinct, exp.Select, exp.SetOperation)
        query = column.find_ancestor(exp.Query)
        if isinstance(clause, (exp.Order, exp.Distinct)) and query and column.name in query.named_selects:
            if isinstance(column.parent, exp.Ordered):
                continue
            # Inside an expression it is an input column; sqlglot leaves it bare if an output is that very column.
            output = query.selects[query.named_selects.index(column.name)].unalias()
            if isinstance(output, exp.Column) and output.name == column.name:
                column.set("table", output.args["table"].copy())
                continue
        raise QueryRejected(
            f"the column {column.name!r} cannot be bound to one relation",
            hint="write table.column",
            code="unsupported-feature",
        )


def mapping(catalog: Catalog, tree: exp.Query) -> MappingSchema:
    """sqlglot's schema for the relations that ``tree`` reads; unqualified names get their schema in the tree too.

    sqlglot wants all tables at one depth, so every reference is written with a schema when any table has one.
    """
    deep = any(table.schema is not None for table in catalog.tables)
    mapping: dict[str, object] = {}
    for node in base_tables(tree):
        table = relation(node, catalog)
        columns = {_quoted(column.name): column.type for column in table.columns}
        if deep:
            schema = table.schema or "main"
            inner = mapping.setdefault(_quoted(schema), {})
            assert isinstance(inner, dict)
            inner[_quoted(table.name)] = columns
            if not node.args.get("alias"):
                node.set("alias", exp.TableAlias(this=exp.to_identifier(node.name, quoted=_needs_quotes(node.name))))
            if not node.db:
                node.set("db", exp.to_identifier(schema, quoted=_needs_quotes(schema)))
                node.meta["added_schema"] = True
        else:
            mapping[_quoted(table.name)] = columns
    try:
        return MappingSchema(mapping, dialect=catalog.dialect)
    except SqlglotError as error:
        raise QueryRejected(f"the catalog cannot be used: {_first_line(error)}", code="unsupported-feature") from None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _bind_input_columns(tree: exp.Query, catalog: Catalog) -> None:
    """Give a table to unqualified columns where an input column must win over an output alias of the same name.

    In Postgres no alias is visible in WHERE and HAVING, so there the nearest enclosing SELECT that has the column owns
    it. DuckDB sees aliases everywhere, but after the columns of the SELECT itself.
    """
    for scope in traverse_scope(tree):
        select = scope.expression
        if not isinstance(select, exp.Select):
            continue
        aliases = {projection.alias for projection in select.selects if projection.alias}
        if not aliases:
            continue
        for clause in ("expressions", "where", "group", "having", "order"):
            parts = select.args.get(clause)
            for part in parts if isinstance(parts, list) else [parts] if parts is not None else []:
                for column in list(part.find_all(exp.Column)):
                    if column.table or column.name not in aliases or column.find_ancestor(exp.Select) is not select:
                        continue
                    if clause == "order" and isinstance(column.parent, exp.Ordered):
                        continue
                    outward = catalog.dialect == "postgres" and clause not in ("group", "order")
                    owner = _owner(column, scope, catalog, outward=outward)
                    if owner is not None:
                        column.set("table", exp.to_identifier(owner, quoted=_needs_quotes(owner)))


def _owner(column: exp.Column, scope: Scope, catalog: Catalog, *, outward: bool) -> str | None:
    """The alias of the one relation that an unqualified column belongs to; None if there is none, or several."""
    hidden: set[str] = set()
    here: Scope | None = scope
    while here is not None:
        found = _owners(here, catalog).get(column.name, [])
        if len(found) == 1 and found[0] in hidden:
            raise QueryRejected(
                f"the column {column.name!r} belongs to an outer {found[0]!r}, hidden by an inner one",
                hint="give the relations different aliases",
                code="unsupported-feature",
            )
        if found:
            return found[0] if len(found) == 1 else None
        if not outward:
            return None
        hidden |= set(here.selected_sources)
        here = here.parent
    return None


def _owners(scope: Scope, catalog: Catalog) -> dict[str, list[str]]:
    """Which sources of a SELECT have a column of a name."""
    owners: dict[str, list[str]] = {}
    for alias, (_, source) in scope.selected_sources.items():
        names: list[str] = []
        if isinstance(source, exp.Table):
            table = catalog.find(source.name, source.db or None)
            names = [column.name for column in table.columns] if table else []
        elif isinstance(source.expression, exp.Query):
            names = source.expression.named_selects
        for name in names:
            owners.setdefault(name, []).append(alias)
    return owners


def _unknown_column(error: Exception, tree: exp.Query, catalog: Catalog) -> UnknownName | QueryRejected:
    message = _first_line(error)
    match = re.search(r"[Cc]olumn:? '?\"?([^'\".]+(?:\.[^'\".]+)*)'?\"?", message)
    if "mbiguous" in message and match:
        return UnknownName(f"the column {match.group(1)!r} is ambiguous", hint="write table.column")
    if match:
        word = match.group(1)
        bare = word.rpartition(".")[2]
        known = {column.name for node in base_tables(tree) for column in relation(node, catalog).columns}
        return UnknownName(
            f"there is no column {word!r} in the relations of its SELECT",
            hint=_similar(bare, sorted(known)) or "check the name, and case if it was created in quotes",
        )
    return QueryRejected(f"the statement cannot be qualified: {message}", code="unsupported-feature")


def _similar(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3)
    return f"did you mean {' or '.join(close)}?" if close else ""


def _needs_quotes(name: str) -> bool:
    return _SAFE.match(name) is None or name in _RESERVED


# Words that Postgres 18, DuckDB 1.5 or sqlglot do not take everywhere as a bare name (found by trying every key word of
# the three as table, alias, column and CTE).
_RESERVED = frozenset(
    """
    all alter analyse analyze and anti any array as asc asof asymmetric at authorization between binary both
    by case cast check collate collation column concurrently constraint create cross current_catalog
    current_date current_role current_schema current_time current_timestamp current_user default deferrable
    desc describe distinct do drop else end except false fetch for force foreign freeze from full glob grant
    group having ilike in initially inner insert install intersect into is isnull join lambda lateral
    leading left like limit localtime localtimestamp map natural not notnull null offset on only or order
    outer overlaps partitioned_by pivot pivot_longer pivot_wider placing positional primary qualify
    recursive references regexp returning revoke right rlike rollback select semi session_user show similar
    some summarize symmetric system_user table tablesample then to trailing true uncache union unique unpack
    unpivot user using values variadic verbose when where window with xor
    """.split()
)


def _quote_where_needed(tree: exp.Query, catalog: Catalog) -> None:
    """Quotes only where a name needs them, and schemas only where the statement had them."""
    for node in tree.walk():
        if isinstance(node, exp.Identifier):
            node.set("quoted", _needs_quotes(node.name))
        elif isinstance(node, exp.Table) and node.meta.pop("added_schema", False):
            table = catalog.find(node.name)
            if table is not None and table.schema == node.db:
                node.set("db", None)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["unknown"])[0][:200]
