"""The two keys of a statement. The group key gathers log lines; only the rewrite key may ever reuse a rewrite."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

import pgparse
from sqlglot import exp

from rewriter.catalog import Catalog, Table
from rewriter.records import Query

VERIFIER_VERSION = 1  # raised when a verdict of an older verifier must not be relied on any more

_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between, exp.In)
_MARK = "\x00"  # no statement contains it (the guard refuses it), so a mark is never mistaken for a literal


def group_key(statement: str, tree: exp.Query, dialect: str) -> str:
    """Fingerprint for grouping, as hexadecimal text: libpg_query's for Postgres, a hash of the template otherwise."""
    if dialect == "postgres":
        return str(pgparse.fingerprint(statement))
    template = tree.copy()
    for literal in template.find_all(exp.Literal):
        literal.set("this", _MARK)
        literal.set("is_string", False)
    return hashlib.sha256(template.sql(dialect=dialect, comments=False).encode()).hexdigest()[:16]


def named_tables(trees: Iterable[exp.Query], catalog: Catalog) -> list[Table]:
    """The catalog's relations that the trees name. A CTE of a relation's name counts as that relation: one too many
    errs on the safe side."""
    found = {catalog.find(node.name, node.db or None) for tree in trees for node in tree.find_all(exp.Table)}
    return sorted((table for table in found if table is not None), key=lambda table: (table.schema or "", table.name))


def rewrite_key(tree: exp.Query, stated: exp.Query, catalog: Catalog) -> str:
    """SHA-256 (64 hex digits) of the exact statement ``tree`` and all that a verdict rests on: the relations that it
    names, and those that its views (expanded in ``stated``) name.

    Only literals that are compared with something become typed placeholders, numbered by value, so that literals that
    are equal to each other in one statement are equal in the other too. Literals elsewhere (LIMIT, ordinals, LIKE
    patterns, intervals, frames, type modifiers, arithmetic) keep their text, because they change what the query is.
    """
    shape = tree.copy()
    numbers: dict[tuple[str, str], int] = {}
    for literal in shape.find_all(exp.Literal):
        if _is_compared(literal):
            type_ = _type_of(literal, catalog.dialect)
            number = numbers.setdefault((type_, literal.name), len(numbers) + 1)
            literal.set("this", f"{_MARK}{number}{_MARK}{type_}")
            literal.set("is_string", True)
    body = {
        "shape": shape.sql(dialect=catalog.dialect, comments=False, normalize=False),
        "dialect": catalog.dialect,
        "catalog": catalog.restricted_to(named_tables((tree, stated), catalog)).hash,
        "verifier": VERIFIER_VERSION,
    }
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def exact_key(query: Query) -> str:
    """SHA-256 (64 hex digits) of the statement with its literals, however it is formatted, and all that a verdict rests
    on."""
    text = query.stated.sql(dialect=query.dialect, comments=False)
    body = [query.rewrite_key, text]
    return hashlib.sha256(json.dumps(body).encode()).hexdigest()


def _is_compared(literal: exp.Literal) -> bool:
    """Whether the literal, alone or under a sign or a cast (``DATE '...'``), is a side of a comparison."""
    parent = literal.parent
    while isinstance(parent, (exp.Paren, exp.Neg, exp.Cast)) and not isinstance(parent, exp.TryCast):
        parent = parent.parent
    return isinstance(parent, _COMPARISONS)


def _type_of(literal: exp.Literal, dialect: str) -> str:
    """The type that the engine gives to the literal as written."""
    if literal.is_string:
        return "string"
    text = literal.name
    if text.isdigit():
        value = int(text)
        return "int4" if value < 2**31 else "int8" if value < 2**63 else "numeric"
    if dialect == "duckdb" and "e" not in text.lower():
        whole, _, fraction = text.partition(".")
        return f"decimal({len(whole) + len(fraction)},{len(fraction)})"
    return "numeric"
