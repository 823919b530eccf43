"""The two keys of a statement. The group key gathers log lines; only the rewrite key may ever reuse a rewrite."""

from __future__ import annotations

import hashlib
import json

import pgparse
from sqlglot import exp

from rewriter.catalog import Catalog

VERIFIER_VERSION = 1  # raised when a verdict of an older verifier must not be relied on any more

_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between, exp.In)


def group_key(statement: str, tree: exp.Query, dialect: str) -> str:
    """Fingerprint for grouping, as hexadecimal text: libpg_query's for Postgres, a hash of the template otherwise."""
    if dialect == "postgres":
        try:
            return str(pgparse.fingerprint(statement))
        except (pgparse.PGQueryError, ValueError):
            pass  # what libpg_query cannot read still gets a key of the other kind
    template = tree.copy()
    for literal in list(template.find_all(exp.Literal)):
        literal.replace(exp.Placeholder())
    return hashlib.sha256(template.sql(dialect=dialect).encode()).hexdigest()[:16]


def rewrite_key(tree: exp.Query, catalog: Catalog) -> str:
    """SHA-256 (64 hex digits) of the exact statement and all that a verdict rests on.

    Only literals that are compared with something become typed placeholders; literals elsewhere (LIMIT, ordinals, LIKE
    patterns, intervals, frames, type modifiers, arithmetic) keep their text, because they change what the query is.
    """
    shape = tree.copy()
    number = 0
    for literal in list(shape.find_all(exp.Literal)):
        parent = literal.parent
        while isinstance(parent, (exp.Paren, exp.Neg)):
            parent = parent.parent
        if isinstance(parent, _COMPARISONS):
            number += 1
            literal.replace(exp.Placeholder(this=f"value_{number}_{_type_of(literal)}"))
    body = {
        "shape": shape.sql(dialect=catalog.dialect, comments=False, normalize=False),
        "dialect": catalog.dialect,
        "catalog": catalog.hash,
        "verifier": VERIFIER_VERSION,
    }
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _type_of(literal: exp.Literal) -> str:
    if literal.is_string:
        return "string"
    return "integer" if literal.name.isdigit() else "numeric"
