"""The part of the catalog that two queries can see: which tables and columns a generated database must have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from rewriter.catalog import Catalog, Column, ForeignKey, Table
from rewriter.verify.generate.checks import parse_check
from rewriter.verify.generate.domains import Domain, Kind, domain_of

RelationKey = tuple[str | None, str]


@dataclass(frozen=True)
class Reference:
    """A foreign key between two generated relations."""

    columns: tuple[str, ...]
    parent: RelationKey
    referenced: tuple[str, ...]


@dataclass(frozen=True)
class Relation:
    """The generated part of one table. A constraint appears when all of its columns are generated; one that reaches
    into columns left out can always be satisfied by values there."""

    table: Table
    columns: tuple[Column, ...]
    domains: Mapping[str, Domain]
    primary_key: tuple[str, ...]
    unique: tuple[tuple[str, ...], ...]
    references: tuple[Reference, ...]
    checks: tuple[exp.Expr, ...]

    @property
    def key(self) -> RelationKey:
        return (self.table.schema, self.table.name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def not_null(self) -> frozenset[str]:
        return frozenset(c.name for c in self.columns if not c.nullable) | frozenset(self.primary_key)

    @property
    def keys(self) -> tuple[tuple[str, ...], ...]:
        return ((self.primary_key,) if self.primary_key else ()) + self.unique


def table_of(source: exp.Table, catalog: Catalog) -> Table | None:
    """The base table that a table reference names, if the catalog has it."""

    def folded(identifier: exp.Expr | None) -> str | None:
        if not isinstance(identifier, exp.Identifier) or not identifier.name:
            return None
        keep = identifier.args.get("quoted") and catalog.dialect != "duckdb"
        return str(identifier.name) if keep else str(identifier.name).lower()

    name = folded(source.this)
    if name is None:
        return None
    schema = folded(source.args.get("db"))
    table = catalog.find(name, schema)
    if table is None and schema is not None:
        table = catalog.find(name)
    return table if table is not None and not table.is_view else None


def relations(catalog: Catalog, queries: Iterable[exp.Query]) -> tuple[Relation, ...]:
    """The relations that ``queries`` read, parents before children, with the columns that they may read.

    Column names are matched without regard to scope, so a table may get a column too many and never one too few.
    """
    trees = list(queries)
    tables: dict[RelationKey, Table] = {}
    names: set[str] = set()
    everything = False
    for tree in trees:
        for source in tree.find_all(exp.Table):
            table = table_of(source, catalog)
            if table is not None:
                tables[table.schema, table.name] = table
        for identifier in tree.find_all(exp.Identifier):
            names.add(str(identifier.name).lower())
        everything = everything or _reads_whole_rows(tree)
    wanted = {
        key: {c.name for c in table.columns if everything or c.name.lower() in names} for key, table in tables.items()
    }
    _close(catalog, tables, wanted)
    return _ordered([_relation(catalog, table, wanted[key], tables) for key, table in tables.items()])


def _reads_whole_rows(tree: exp.Expr) -> bool:
    if any(not isinstance(star.parent, exp.Count) for star in tree.find_all(exp.Star)):
        return True
    if any(join.method.upper() == "NATURAL" for join in tree.find_all(exp.Join)):
        return True
    aliases = {str(source.alias_or_name).lower() for source in tree.find_all(exp.Table, exp.Subquery)}
    return any(not c.table and c.name.lower() in aliases for c in tree.find_all(exp.Column))


def _close(catalog: Catalog, tables: dict[RelationKey, Table], wanted: dict[RelationKey, set[str]]) -> None:
    """Add what constraints tie to the wanted columns: other columns of a CHECK or of a foreign key, and tables that a
    chain of foreign keys leads through."""
    changed = True
    while changed:
        changed = False
        for key, table in list(tables.items()):
            columns = wanted[key]
            before = len(columns), len(tables)
            for text in table.checks:
                used = _columns_of(parse_check(text, catalog.dialect), table)
                if used & columns:
                    columns |= used
            for foreign_key in table.foreign_keys:
                if not columns & set(foreign_key.columns):
                    continue
                parent = _parent(catalog, table, foreign_key)
                if parent is None:
                    continue
                parent_key = (parent.schema, parent.name)
                if parent_key not in tables and _leads_to(catalog, parent, set(tables)):
                    tables[parent_key], wanted[parent_key] = parent, set()
                if parent_key in tables:
                    columns |= set(foreign_key.columns)
                    missing = set(foreign_key.referenced) - wanted[parent_key]
                    wanted[parent_key] |= missing
                    changed = changed or bool(missing)
            if not columns:
                columns |= set(table.primary_key or [table.columns[0].name] if table.columns else [])
            changed = changed or before != (len(columns), len(tables))


def _leads_to(catalog: Catalog, table: Table, goals: set[RelationKey]) -> bool:
    """Whether foreign keys lead from ``table`` to one of ``goals``."""
    seen: set[RelationKey] = set()
    pending = [table]
    while pending:
        current = pending.pop()
        if (current.schema, current.name) in seen:
            continue
        seen.add((current.schema, current.name))
        for foreign_key in current.foreign_keys:
            parent = _parent(catalog, current, foreign_key)
            if parent is not None:
                if (parent.schema, parent.name) in goals:
                    return True
                pending.append(parent)
    return False


def _parent(catalog: Catalog, table: Table, foreign_key: ForeignKey) -> Table | None:
    return catalog.find(foreign_key.table, foreign_key.schema if foreign_key.schema is not None else table.schema)


def _columns_of(condition: exp.Expr | None, table: Table) -> set[str]:
    if condition is None:
        return set()
    by_name = {column.name.lower(): column.name for column in table.columns}
    return {by_name[c.name.lower()] for c in condition.find_all(exp.Column) if c.name.lower() in by_name}


def _relation(catalog: Catalog, table: Table, wanted: set[str], tables: Mapping[RelationKey, Table]) -> Relation:
    columns = tuple(c for c in table.columns if c.name in wanted)
    parsed = (parse_check(text, catalog.dialect) for text in table.checks)
    references = []
    for foreign_key in table.foreign_keys:
        parent = _parent(catalog, table, foreign_key)
        if parent is None or (parent.schema, parent.name) not in tables or not set(foreign_key.columns) <= wanted:
            continue
        if _comparable(catalog, table, parent, foreign_key):
            references.append(Reference(foreign_key.columns, (parent.schema, parent.name), foreign_key.referenced))
    return Relation(
        table,
        columns,
        {c.name: domain_of(c.type, catalog.dialect) for c in columns},
        table.primary_key if set(table.primary_key) <= wanted else (),
        tuple(key for key in table.unique if set(key) <= wanted),
        tuple(references),
        tuple(check for check in parsed if check is not None and _columns_of(check, table) <= wanted),
    )


def _comparable(catalog: Catalog, table: Table, parent: Table, foreign_key: ForeignKey) -> bool:
    """Whether a foreign key joins columns of kinds that compare; one that does not is none an engine could enforce."""

    def kind(owner: Table, name: str) -> Kind:
        column = owner.column(name)
        found = Kind.OTHER if column is None else domain_of(column.type, catalog.dialect).kind
        return Kind.INTEGER if found is Kind.DECIMAL else found

    pairs = zip(foreign_key.columns, foreign_key.referenced, strict=False)
    return all(kind(table, column) == kind(parent, referenced) for column, referenced in pairs)


def _ordered(found: Sequence[Relation]) -> tuple[Relation, ...]:
    """Parents first; a cycle is cut where it is met."""
    by_key = {relation.key: relation for relation in found}
    done: dict[RelationKey, Relation] = {}

    def visit(relation: Relation, path: frozenset[RelationKey]) -> None:
        if relation.key in done or relation.key in path:
            return
        for reference in relation.references:
            visit(by_key[reference.parent], path | {relation.key})
        done[relation.key] = relation

    for relation in found:
        visit(relation, frozenset())
    return tuple(done.values())


def unsupported(found: Iterable[Relation]) -> str | None:
    """Why no database can be made: a column that must not be NULL and whose type has no values here."""
    for relation in found:
        for column in relation.columns:
            if column.name in relation.not_null and relation.domains[column.name].kind is Kind.OTHER:
                return f"no values can be generated for {relation.table.name}.{column.name} ({column.type})"
    return None
