"""Witnesses: for a query, one row per base-table occurrence such that together they would reach its result.

A witness is symbolic: its cells are variables, with equalities (joins, correlations, IN) and constraints (comparisons
with constants or other cells). ``walk`` makes them from a query, ``solve`` gives them values.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from rewriter.records import Value
from rewriter.verify.generate.relations import Relation
from rewriter.verify.generate.terms import Term, Variable

NEGATED = {"=": "<>", "<>": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_OPPOSITE = {
    **NEGATED,
    "in": "not-in",
    "not-in": "in",
    "like": "unlike",
    "unlike": "like",
    "null": "not-null",
    "not-null": "null",
}


@dataclass(frozen=True)
class Constraint:
    """``variable operator values``; operators: = <> < <= > >= in like null not-null, all over constants."""

    variable: Variable
    operator: str
    values: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Relating:
    """``fixed operator changed`` for two variables that are not simply equal; ``changed`` is the term to solve for."""

    fixed: Variable
    operator: str
    changed: Term


@dataclass
class Witness:
    """The symbolic rows of one way through a query."""

    occurrences: list[tuple[Relation, dict[str, Variable]]] = field(default_factory=list)
    equal: list[tuple[Variable, Variable]] = field(default_factory=list)
    constraints: list[Constraint] = field(default_factory=list)
    relating: list[Relating] = field(default_factory=list)
    hints: list[Constraint] = field(default_factory=list)
    counts: set[int] = field(default_factory=set)
    grouped: set[int] = field(default_factory=set)
    contradictions: int = 0


def spoiled(made: Witness, rng: random.Random) -> Witness | None:
    """The witness with one condition turned round and all others kept: rows that a query must leave out, and that one
    which lost this very condition lets in. None if there is no condition."""
    position = rng.randrange(len(made.equal) + len(made.constraints) or 1)
    if position < len(made.equal):
        left, right = made.equal[position]
        others = made.equal[:position] + made.equal[position + 1 :]
        apart = Relating(left, "<>", Term("variable", right))
        return replace(made, equal=others, relating=[*made.relating, apart])
    position -= len(made.equal)
    if position >= len(made.constraints):
        return None
    constraint = made.constraints[position]
    turned = replace(constraint, operator=_OPPOSITE[constraint.operator])
    return replace(made, constraints=[*made.constraints[:position], turned, *made.constraints[position + 1 :]])
