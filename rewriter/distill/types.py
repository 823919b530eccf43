"""Kinds of SQL types, as conditions name them, with constants and expressions of each for generated queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from sqlglot import exp
from sqlglot.errors import SqlglotError

NAMED = ("date", "timestamp", "integer", "number", "text", "boolean")  # kinds that a condition can ask for
COMPARABLE: Mapping[str, Sequence[str]] = {
    "integer": ("integer", "number", "double"),
    "number": ("number", "integer", "double"),
    "date": ("date", "timestamp"),
}  # what a literal of a kind can be compared with
_TYPES: Mapping[str, Sequence[str]] = {
    "integer": ("integer", "bigint"),
    "number": ("numeric(10, 2)", "numeric(8, 3)", "integer"),
    "double": ("double precision",),
    "text": ("text", "varchar(20)"),
    "date": ("date",),
    "timestamp": ("timestamp",),
    "boolean": ("boolean",),
}
_CONSTANTS: Mapping[str, Sequence[str]] = {
    "integer": ("0", "1", "2", "3", "5", "-1", "-2", "7"),
    "number": ("0", "1", "0.5", "2.25", "-1", "3"),
    "double": ("0", "1", "0.5", "-2"),
    "text": ("'a'", "'b'", "''", "'A'", "'ab'"),
    "date": tuple(f"CAST('{day}' AS DATE)" for day in ("2024-01-01", "2024-01-15", "2024-02-29", "2023-12-31")),
    "timestamp": tuple(
        f"CAST('{moment}' AS TIMESTAMP)"
        for moment in ("2024-01-01 00:00:00", "2024-01-15 10:30:00", "2023-12-31 23:59:59", "2024-02-29 12:00:00")
    ),
    "boolean": ("TRUE", "FALSE"),
    "interval": ("INTERVAL '1 day'", "INTERVAL '1 month'", "INTERVAL '5 hours'", "INTERVAL '30 days'"),
}


def kind_of(type_: str) -> str:
    """The kind of a SQL type; empty where it has none that queries are generated for."""
    try:
        found = exp.DataType.build(type_, dialect="postgres").this
    except (SqlglotError, ValueError):
        return ""
    if found in exp.DataType.INTEGER_TYPES:
        return "integer"
    if found is exp.DataType.Type.DECIMAL:
        return "number"
    if found in exp.DataType.FLOAT_TYPES:
        return "double"
    if found in (exp.DataType.Type.TEXT, exp.DataType.Type.VARCHAR):
        return "text"
    plain = {
        exp.DataType.Type.DATE: "date",
        exp.DataType.Type.TIMESTAMP: "timestamp",
        exp.DataType.Type.TIMESTAMPNTZ: "timestamp",
        exp.DataType.Type.BOOLEAN: "boolean",
        exp.DataType.Type.INTERVAL: "interval",
    }
    return plain.get(found, "")


def drawn_type(kind: str, random: Random) -> str:
    """A type of a kind; of any kind for the empty one."""
    return random.choice(_TYPES[kind if kind in _TYPES else random.choice(sorted(_TYPES))])


def plainest(kind: str) -> str:
    """The first type that comes to mind for a kind."""
    return _TYPES.get(kind, _TYPES["integer"])[0]


def constant(kind: str, random: Random, *, literal: bool = False) -> str:
    """A constant of a kind; ``literal``: written as a plain literal, also for dates."""
    text = random.choice(_CONSTANTS.get(kind, ("1",)))
    return text[text.index("'") : text.rindex("'") + 1] if literal and text.startswith("CAST") else text


def compound(kind: str, column: str, flag: str, random: Random, *, nullable: bool) -> str:
    """An expression over ``column`` that is more than the column; ``flag`` is an integer column beside it."""
    whole = f"COALESCE({column}, {constant(kind, random)})"
    if not nullable:
        return whole
    forms = [whole, f"CASE WHEN {flag} > 1 THEN {column} END", f"NULLIF({column}, {constant(kind, random)})"]
    if kind in ("integer", "number", "double"):
        forms += [f"{column} + 1", f"{column} - {flag}"]
    if kind == "text":
        forms += [f"{column} || 'a'", f"LOWER({column})"]
    return random.choice(forms)
