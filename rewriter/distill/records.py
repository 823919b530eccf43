"""What distillation takes and gives: pairs of queries, places where they differ, and outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sqlglot import exp

from rewriter.records import Query
from rules.rulefile import RuleDocument


class Reason(StrEnum):
    """Why no rule comes of a pair."""

    UNREADABLE = "the pair cannot be read"
    NOT_EQUIVALENT = "the pair is not known to be equivalent"
    CANNOT_LOCALISE = "cannot localise"
    BEYOND_PATTERNS = "needs something that the pattern language has not"
    REFUTED = "refuted when generalised"
    UNTESTED = "cannot be tested in general"
    IN_CATALOGUE = "already a rule"
    NOTHING_GAINED = "nothing gained"
    CHECKS_FAILED = "its document fails its checks"


class Refused(Exception):
    """Ends the work on a pair. ``detail`` is a sentence, without SQL of the pair."""

    def __init__(self, reason: Reason, detail: str, script: str | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.script = script


@dataclass(frozen=True)
class Pair:
    """A rewrite that was accepted. ``ratio``: original time / rewritten time, where it was measured; ``said``: the rule
    in words that a model gave with it; ``facts``: the constraints that its verdict may rest on; ``origin`` names it."""

    before: Query
    after: Query
    ratio: float | None = None
    said: str = ""
    facts: tuple[str, ...] = ()
    origin: str = ""


@dataclass(frozen=True, eq=False)
class Site:
    """A place of a pair where the two differ: ``find`` stands in the tree of the one, ``replace`` in that of the other.
    ``whole``: a query with this difference alone, as before and as after."""

    find: exp.Expr
    replace: exp.Expr
    before: Query
    after: Query


@dataclass(frozen=True)
class Variable:
    """A metavariable and what it stands for in the pair. ``kind``: expression, constant, list, table, relation (what a
    table goes by), column, output. ``type`` as SQL text, of what has one. ``table``: the table variable of a relation;
    ``relations``: those that have a column of this name."""

    name: str
    kind: str
    sample: exp.Expr | None = None
    type: str = ""
    table: str = ""
    relations: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hypothesis:
    """A pair of templates. ``place``: what stands at its site: condition, aggregate, value or select; ``outer``:
    relations that the template's names stand for and that stand around it."""

    find: str
    replace: str
    variables: Mapping[str, Variable]
    place: str
    dialect: str
    outer: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One use of a hypothesis: a schema (DDL), the query before and after, and ``rows`` (INSERTs) on which the two
    differ, where they do. ``violates`` is the condition that does not hold of it."""

    schema: str
    before: str
    after: str
    violates: str = ""
    rows: str = ""
    explanation: str = ""


@dataclass(frozen=True)
class Rule:
    """A hypothesis whose conditions have been tried one by one, with what it was tried on."""

    hypothesis: Hypothesis
    needed: tuple[Case, ...]
    proofs: int
    tried: int


@dataclass(frozen=True)
class Outcome:
    """What came of one difference: a ``document``, or why there is none. ``pairs``: from how many pairs; ``detail``:
    on what it was tried, or why it was refused."""

    pairs: int
    document: RuleDocument | None = None
    refused: Reason | None = None
    detail: str = ""
    ratio: float | None = None
    script: str | None = None
    origins: tuple[str, ...] = ()
