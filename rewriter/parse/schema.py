"""Catalogs without a database: from DDL text, and from the schema format of query-pair files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from rewriter.catalog import Catalog, Column, ForeignKey, Table
from rewriter.errors import SchemaError
from rewriter.lexical import pieces
from rewriter.parse.guard import allow_recursion
from rewriter.parse.views import with_view_columns

MAX_DDL = 8 * 1024 * 1024  # characters
_COPY = re.compile(r"\s*COPY\s.*\sFROM\s+stdin\b", re.IGNORECASE)
_TELLING = re.compile(
    r"\s*(create\s+(or\s+replace\s+)?((global|local|temp|temporary|unlogged|materialized|recursive)\s+)*(table|view)"
    r"|create\s+unique\s+index|alter\s+table)\b",
    re.IGNORECASE,
)
_WITH_DATA = re.compile(r"\bWITH\s+(NO\s+)?DATA\s*$", re.IGNORECASE)
_ROWS = re.compile(r"^\s*--\s*rows\s+([\w.\"]+)\s*[:=]?\s*([\d_,]+)\s*$", re.IGNORECASE | re.MULTILINE)


@dataclass
class _Draft:
    """A table while its constraints are still being gathered from several statements."""

    name: str
    schema: str | None
    columns: list[Column] = field(default_factory=list)
    primary_key: tuple[str, ...] = ()
    unique: list[tuple[str, ...]] = field(default_factory=list)
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)
    definition: str | None = None


def read_schema(ddl: str, dialect: str, rows: Mapping[str, int] | None = None) -> Catalog:
    """The catalog that CREATE TABLE, CREATE VIEW, CREATE UNIQUE INDEX and ALTER TABLE statements describe.

    Row counts come from ``rows`` (table name to count) or from comment lines ``-- rows TABLE COUNT``. Other statements
    (INSERT, GRANT, COMMENT, SET, functions, ...) and the data of COPY are passed over, so a schema dump can be used
    as it is. Constraints that are not validated or not enforced are left out. Raises SchemaError.
    """
    if len(ddl) > MAX_DDL:
        raise SchemaError(f"the schema has more than {MAX_DDL:,} characters")
    allow_recursion()
    drafts: dict[tuple[str | None, str], _Draft] = {}
    for text in _statements(ddl):
        _apply(text, drafts, dialect)
    if not drafts:
        raise SchemaError("the schema holds no CREATE TABLE", hint="pass DDL text such as pg_dump --schema-only prints")
    counts = {name.replace('"', "").lower(): int(re.sub(r"[_,]", "", number)) for name, number in _ROWS.findall(ddl)}
    counts |= {name.lower(): count for name, count in (rows or {}).items()}
    schemas = tuple(dict.fromkeys(draft.schema for draft in drafts.values() if draft.schema))
    path = tuple(schema for schema in ("public", "main") if schema in schemas) or schemas
    _resolve_references(drafts, path)
    tables = []
    for draft in drafts.values():
        full = f"{draft.schema}.{draft.name}".lower() if draft.schema else draft.name.lower()
        tables.append(_finish(draft, counts.get(full, counts.get(draft.name.lower()))))
    return with_view_columns(Catalog(dialect, tuple(tables), path))


def _statements(ddl: str) -> Iterator[str]:
    """The statements that can tell something about tables, without psql commands and COPY data."""
    kept = []
    copying = False
    for line in ddl.splitlines(keepends=True):
        if copying:
            copying = line.strip() != "\\."
        elif _COPY.match(line):
            copying = True
        elif not line.startswith("\\"):
            kept.append(line)
    text = "".join(kept)
    statement = code = ""
    for kind, start, end in [*pieces(text), ("end", len(text), len(text))]:
        if kind == "comment":
            statement += " "
            continue
        parts = text[start:end].split(";") if kind == "code" else [text[start:end]]
        for number, part in enumerate(parts):
            if number:
                if _TELLING.match(code):
                    yield statement
                statement = code = ""
            statement += part
            code += part if kind == "code" else "x"
    if _TELLING.match(code):
        yield statement


def _apply(text: str, drafts: dict[tuple[str | None, str], _Draft], dialect: str) -> None:
    """Adds what one statement says to ``drafts``."""
    try:
        statement = sqlglot.parse_one(_WITH_DATA.sub("", text), read=dialect)
    except (SqlglotError, RecursionError) as error:
        words = " ".join(text.split())[:60]
        raise SchemaError(
            f"the statement {words!r}... of the schema cannot be parsed",
            hint=str(error).splitlines()[0][:160] if str(error) else "leave the statement out",
        ) from None
    if isinstance(statement, exp.Create) and statement.kind in ("TABLE", "VIEW"):
        _create(statement, drafts, dialect)
    elif isinstance(statement, exp.Create) and statement.kind == "INDEX":
        _index(statement, drafts, dialect)
    elif isinstance(statement, exp.Alter) and not statement.args.get("not_valid"):
        _alter(statement, drafts, dialect)


def _resolve_references(drafts: dict[tuple[str | None, str], _Draft], path: tuple[str, ...]) -> None:
    """REFERENCES without columns means the primary key; a reference to an unknown table promises nothing."""
    for draft in drafts.values():
        resolved = []
        for key in draft.foreign_keys:
            places = [key.schema] if key.schema else [draft.schema, *path, None]
            parent = next((drafts[place, key.table] for place in places if (place, key.table) in drafts), None)
            if parent is None:
                continue
            referenced = key.referenced or parent.primary_key
            if len(referenced) == len(key.columns):
                resolved.append(replace(key, referenced=referenced, schema=parent.schema))
        draft.foreign_keys = resolved


def _finish(draft: _Draft, rows: int | None) -> Table:
    keyed = set(draft.primary_key)
    columns = tuple(replace(column, nullable=column.nullable and column.name not in keyed) for column in draft.columns)
    return Table(
        draft.name,
        columns,
        draft.schema,
        draft.primary_key,
        tuple(dict.fromkeys(draft.unique)),
        tuple(draft.foreign_keys),
        tuple(draft.checks),
        rows,
        draft.definition,
    )


def _name(identifier: exp.Expr | str | None, dialect: str) -> str:
    """An identifier as the engine stores it."""
    node = exp.to_identifier(identifier) if isinstance(identifier, str) else identifier
    if isinstance(node, (exp.Ordered, exp.Column)):
        return _name(node.this, dialect)
    if not isinstance(node, exp.Identifier):
        node = node.find(exp.Identifier) if node is not None else None
    if node is None:
        return ""
    return node.name if node.args.get("quoted") and dialect != "duckdb" else node.name.lower()


def _names(nodes: Iterable[exp.Expr], dialect: str) -> tuple[str, ...]:
    return tuple(_name(node, dialect) for node in nodes)


def _key(table: exp.Table, dialect: str) -> tuple[str | None, str]:
    return (_name(table.args["db"], dialect) if table.args.get("db") else None, _name(table.this, dialect))


def _create(statement: exp.Create, drafts: dict[tuple[str | None, str], _Draft], dialect: str) -> None:
    target = statement.this
    table = target.this if isinstance(target, exp.Schema) else target
    if not isinstance(table, exp.Table):
        raise SchemaError("a CREATE TABLE has no readable name")
    key = _key(table, dialect)
    draft = _Draft(key[1], key[0])
    properties = statement.args["properties"].expressions if statement.args.get("properties") else []
    for parent, drop_keys in _parents(properties):
        _inherit(draft, drafts.get(_key(parent, dialect)), drop_keys=drop_keys)
    if statement.kind == "VIEW":
        body = statement.expression
        if not any(isinstance(entry, exp.MaterializedProperty) for entry in properties):
            draft.definition = body.sql(dialect=dialect)  # what is materialized may be out of date: it is a table
        named = _names(target.expressions, dialect) if isinstance(target, exp.Schema) else ()
        outputs = named or tuple(body.named_selects if isinstance(body, exp.Query) else ())
        draft.columns = [Column(name, "unknown") for name in outputs if name and name != "*"]
    elif isinstance(target, exp.Schema):
        for part in target.expressions:
            if isinstance(part, exp.ColumnDef):
                _column(part, draft, dialect)
            else:
                _constraint(part, draft, dialect)
    elif not draft.columns:
        raise SchemaError(f"CREATE TABLE {draft.name} has no column list", hint="CREATE TABLE ... AS cannot be used")
    drafts[key] = draft


def _parents(properties: Iterable[exp.Expr]) -> Iterator[tuple[exp.Table, bool]]:
    """The tables that a CREATE TABLE inherits from, and whether by INHERITS (not as a partition)."""
    for entry in properties:
        if isinstance(entry, exp.InheritsProperty):
            yield from ((node, True) for node in entry.expressions if isinstance(node, exp.Table))
        elif isinstance(entry, exp.PartitionedOfProperty) and isinstance(entry.this, exp.Table):
            yield entry.this, False


def _inherit(draft: _Draft, parent: _Draft | None, *, drop_keys: bool) -> None:
    """A child has its parent's columns and checks, not its keys. With INHERITS the parent shows the rows of its
    children too, and its own keys do not hold over them (``drop_keys``); the keys of a partitioned table do."""
    if parent is not None:
        draft.columns.extend(parent.columns)
        draft.checks.extend(parent.checks)
        if drop_keys:
            parent.primary_key, parent.unique, parent.foreign_keys = (), [], []


def _column(part: exp.ColumnDef, draft: _Draft, dialect: str) -> None:
    name = _name(part.this, dialect)
    kind = part.args.get("kind")
    nullable = True
    for constraint in part.args.get("constraints") or []:
        rule = constraint.kind
        if isinstance(rule, exp.NotNullColumnConstraint):
            nullable = bool(rule.args.get("allow_null"))
        elif isinstance(rule, exp.PrimaryKeyColumnConstraint):
            draft.primary_key = (name,)
        elif isinstance(rule, exp.UniqueColumnConstraint):
            draft.unique.append((name,))
        elif isinstance(rule, exp.CheckColumnConstraint):
            draft.checks.append(rule.this.sql(dialect=dialect))
        elif isinstance(rule, exp.Reference):
            _reference((name,), rule, draft, dialect)
        elif isinstance(rule, exp.GeneratedAsIdentityColumnConstraint):
            nullable = False
    type_ = kind.sql(dialect=dialect) if kind is not None else "text"
    if isinstance(kind, exp.DataType) and type_.upper().endswith("SERIAL"):
        type_, nullable = {"BIGSERIAL": "bigint", "SMALLSERIAL": "smallint"}.get(type_.upper(), "integer"), False
    draft.columns.append(Column(name, type_, nullable))


def _constraint(part: exp.Expr, draft: _Draft, dialect: str) -> None:
    if isinstance(part, exp.Constraint):
        for inner in part.expressions:
            _constraint(inner, draft, dialect)
    elif isinstance(part, exp.PrimaryKey):
        draft.primary_key = _names(part.expressions, dialect)
    elif isinstance(part, exp.UniqueColumnConstraint):
        columns = part.this.expressions if isinstance(part.this, exp.Schema) else part.expressions
        draft.unique.append(_names(columns, dialect))
    elif isinstance(part, exp.ForeignKey):
        _reference(_names(part.expressions, dialect), part.args.get("reference"), draft, dialect)
    elif isinstance(part, (exp.CheckColumnConstraint, exp.Check)):
        draft.checks.append(part.this.sql(dialect=dialect))


def _reference(columns: tuple[str, ...], reference: exp.Expr | None, draft: _Draft, dialect: str) -> None:
    target = reference.this if reference is not None else None
    table = target.this if isinstance(target, exp.Schema) else target
    if not isinstance(table, exp.Table):
        return
    schema, name = _key(table, dialect)
    referenced = _names(target.expressions, dialect) if isinstance(target, exp.Schema) else ()
    draft.foreign_keys.append(ForeignKey(columns, name, referenced, schema))


def _index(statement: exp.Create, drafts: dict[tuple[str | None, str], _Draft], dialect: str) -> None:
    index = statement.this
    if not statement.args.get("unique") or not isinstance(index, exp.Index):
        return
    table = index.args.get("table")
    parameters = index.args.get("params")
    if table is None or parameters is None or parameters.args.get("where"):
        return
    columns = parameters.args.get("columns") or []
    plain = [column.this if isinstance(column, exp.Ordered) else column for column in columns]
    draft = drafts.get(_key(table, dialect))
    if draft is not None and plain and all(isinstance(column, (exp.Column, exp.Identifier)) for column in plain):
        draft.unique.append(_names(plain, dialect))


def _alter(statement: exp.Alter, drafts: dict[tuple[str | None, str], _Draft], dialect: str) -> None:
    table = statement.this
    draft = drafts.get(_key(table, dialect)) if isinstance(table, exp.Table) else None
    if draft is None:
        return
    for action in statement.args.get("actions") or []:
        if isinstance(action, exp.AddConstraint):
            for part in action.expressions:
                _constraint(part, draft, dialect)
        elif isinstance(action, exp.AlterColumn) and action.args.get("allow_null") is False:
            name = _name(action.this, dialect)
            draft.columns = [replace(c, nullable=False) if c.name == name else c for c in draft.columns]
        elif isinstance(action, exp.ColumnDef):
            _column(action, draft, dialect)


def catalog_of(tables: Sequence[Mapping[str, Any]], dialect: str) -> Catalog:
    """The catalog of a query-pair file's ``schema``: a list of ``table``, ``columns`` (``name``, ``type``,
    ``nullable``), ``pk``, ``fks``, ``unique``, ``checks``. Raises SchemaError naming what is missing."""
    made = []
    for entry in tables:
        try:
            name = str(entry["table"]).lower()
            key = tuple(str(column).lower() for column in entry.get("pk") or ())
            columns = tuple(
                Column(
                    str(column["name"]).lower(),
                    str(column["type"]),
                    bool(column.get("nullable", True)) and str(column["name"]).lower() not in key,
                )
                for column in entry["columns"]
            )
            foreign = tuple(_pair_foreign_key(raw) for raw in entry.get("fks") or ())
            unique = tuple(tuple(str(column).lower() for column in names) for names in entry.get("unique") or ())
        except (KeyError, TypeError, AttributeError) as error:
            raise SchemaError(f"the schema of a pair is not readable: {error}") from None
        checks = tuple(str(check) for check in entry.get("checks") or ())
        made.append(Table(name, columns, None, key, unique, foreign, checks))
    return Catalog(dialect, tuple(made))


def _pair_foreign_key(raw: Any) -> ForeignKey:
    """Foreign keys come as objects with varying key names, or as [columns, table, columns]."""
    if isinstance(raw, Mapping):
        columns = raw.get("columns") or raw.get("cols") or raw.get("column")
        table = raw.get("ref_table") or raw.get("references") or raw.get("table")
        referenced = raw.get("ref_columns") or raw.get("ref_cols") or raw.get("ref_column") or columns
    else:
        columns, table, referenced = raw

    def listed(value: Any) -> tuple[str, ...]:
        return tuple(str(item).lower() for item in ([value] if isinstance(value, str) else value))

    return ForeignKey(listed(columns), str(table).lower(), listed(referenced))
