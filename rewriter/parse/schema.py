"""Catalogs without a database: from DDL text, and from the schema format of query-pair files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from rewriter.catalog import Catalog, Column, ForeignKey, Table
from rewriter.errors import SchemaError
from rewriter.parse.guard import allow_recursion

MAX_DDL = 8 * 1024 * 1024  # characters
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
    """The catalog that CREATE TABLE, CREATE VIEW, CREATE UNIQUE INDEX and ALTER TABLE ... ADD statements describe.

    Row counts come from ``rows`` (table name to count) or from comment lines ``-- rows TABLE COUNT``. Other statements
    (INSERT, GRANT, COMMENT, SET, ...) are passed over, so a schema dump can be used as it is. Raises SchemaError.
    """
    if len(ddl) > MAX_DDL:
        raise SchemaError(f"the schema has more than {MAX_DDL:,} characters")
    allow_recursion()
    try:
        statements = sqlglot.parse(ddl, read=dialect)
    except (SqlglotError, RecursionError) as error:
        raise SchemaError(f"the schema cannot be parsed: {str(error).splitlines()[0][:160]}") from None
    drafts: dict[tuple[str | None, str], _Draft] = {}
    for statement in statements:
        if isinstance(statement, exp.Create) and statement.kind in ("TABLE", "VIEW"):
            _create(statement, drafts, dialect)
        elif isinstance(statement, exp.Create) and statement.kind == "INDEX":
            _index(statement, drafts)
        elif isinstance(statement, exp.Alter):
            _alter(statement, drafts, dialect)
    if not drafts:
        raise SchemaError("the schema holds no CREATE TABLE", hint="pass DDL text such as pg_dump --schema-only prints")
    counts = {name.replace('"', "").lower(): int(re.sub(r"[_,]", "", number)) for name, number in _ROWS.findall(ddl)}
    counts |= {name.lower(): count for name, count in (rows or {}).items()}
    tables = []
    for draft in drafts.values():
        full = f"{draft.schema}.{draft.name}".lower() if draft.schema else draft.name.lower()
        tables.append(_finish(draft, counts.get(full, counts.get(draft.name.lower()))))
    schemas = tuple(dict.fromkeys(table.schema for table in tables if table.schema))
    default = tuple(schema for schema in ("public", "main") if schema in schemas)
    return Catalog(dialect, tuple(tables), default or schemas)


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


def _name(identifier: exp.Expr | str | None, dialect: str = "") -> str:
    """An identifier as the engine stores it."""
    node = exp.to_identifier(identifier) if isinstance(identifier, str) else identifier
    if isinstance(node, (exp.Ordered, exp.Column)):
        return _name(node.this, dialect)
    if not isinstance(node, exp.Identifier):
        node = node.find(exp.Identifier) if node is not None else None
    if node is None:
        return ""
    return node.name if node.args.get("quoted") and dialect != "duckdb" else node.name.lower()


def _names(nodes: Iterable[exp.Expr], dialect: str = "") -> tuple[str, ...]:
    return tuple(_name(node, dialect) for node in nodes)


def _key(table: exp.Table, dialect: str = "") -> tuple[str | None, str]:
    return (_name(table.args["db"], dialect) if table.args.get("db") else None, _name(table.this, dialect))


def _create(statement: exp.Create, drafts: dict[tuple[str | None, str], _Draft], dialect: str) -> None:
    target = statement.this
    table = target.this if isinstance(target, exp.Schema) else target
    if not isinstance(table, exp.Table):
        raise SchemaError("a CREATE TABLE has no readable name")
    key = _key(table, dialect)
    draft = _Draft(key[1], key[0])
    if statement.kind == "VIEW":
        body = statement.expression
        draft.definition = body.sql(dialect=dialect)
        named = _names(target.expressions, dialect) if isinstance(target, exp.Schema) else ()
        outputs = named or tuple(body.named_selects if isinstance(body, exp.Query) else ())
        draft.columns = [Column(name, "text") for name in outputs if name and name != "*"]
    elif isinstance(target, exp.Schema):
        for part in target.expressions:
            if isinstance(part, exp.ColumnDef):
                _column(part, draft, dialect)
            else:
                _constraint(part, draft, dialect)
    else:
        raise SchemaError(f"CREATE TABLE {draft.name} has no column list", hint="CREATE TABLE ... AS cannot be used")
    drafts[key] = draft


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
    referenced = _names(target.expressions, dialect) if isinstance(target, exp.Schema) else columns
    draft.foreign_keys.append(ForeignKey(columns, name, referenced, schema))


def _index(statement: exp.Create, drafts: dict[tuple[str | None, str], _Draft]) -> None:
    index = statement.this
    if not statement.args.get("unique") or not isinstance(index, exp.Index):
        return
    table = index.args.get("table")
    parameters = index.args.get("params")
    if table is None or parameters is None or parameters.args.get("where"):
        return
    columns = parameters.args.get("columns") or []
    plain = [column.this if isinstance(column, exp.Ordered) else column for column in columns]
    draft = drafts.get(_key(table))
    if draft is not None and plain and all(isinstance(column, (exp.Column, exp.Identifier)) for column in plain):
        draft.unique.append(_names(plain))


def _alter(statement: exp.Alter, drafts: dict[tuple[str | None, str], _Draft], dialect: str) -> None:
    table = statement.this
    draft = drafts.get(_key(table, dialect)) if isinstance(table, exp.Table) else None
    if draft is None:
        return
    for action in statement.args.get("actions") or []:
        if isinstance(action, exp.AddConstraint):
            for part in action.expressions:
                _constraint(part, draft, dialect)


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
