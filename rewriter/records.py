"""The records that flow from stage to stage. Frozen; a stage makes new ones and never changes what it was given.

Words are those of ARCHITECTURE.md. All times are seconds (float), all sizes rows or bytes as named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from sqlglot import exp

from rewriter.catalog import Catalog

Value = Any  # one SQL value as the drivers give it: None, bool, int, float, Decimal, str, bytes, date, datetime, ...
Row = tuple[Value, ...]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a query: ``marker`` as written (``$1``, ``?``, ``:x``, ``%(x)s``), ``position`` from 1 in the
    normalised text, where every marker is ``$position``. ``type`` is a SQL type where the text states one."""

    marker: str
    position: int
    type: str | None = None


@dataclass(frozen=True)
class Query:
    """One parsed, qualified SELECT or set operation.

    ``tree`` is qualified against ``catalog`` (every column names its relation, stars expanded, views expanded) and is
    never mutated: copy it. ``statement`` is the user's own statement as one text with normalised parameter markers
    (``$1``...), the meaning that every candidate is held against; ``stated`` is the same as a tree, views expanded
    but otherwise not touched, so that a fault in qualification cannot hide from the verifier. ``nondeterminism`` lists
    why the result is not determined by the data (empty for most queries).
    """

    text: str
    statement: str
    dialect: str
    tree: exp.Query
    stated: exp.Query
    catalog: Catalog
    columns: tuple[str, ...]
    group_key: str
    rewrite_key: str
    parameters: tuple[Parameter, ...] = ()
    nondeterminism: tuple[str, ...] = ()

    def sql(self, *, pretty: bool = False) -> str:
        """The qualified tree as text in the query's dialect."""
        return self.tree.sql(dialect=self.dialect, pretty=pretty)


@dataclass(frozen=True)
class Step:
    """One application of a rule: its name, what it did in a sentence for people, the whole query after it, and the
    verdict on this step alone where that was asked for."""

    rule: str
    summary: str
    sql: str = ""
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Candidate:
    """A rewritten query with its provenance. ``sql`` is pretty-printed text in the query's dialect."""

    id: str
    tree: exp.Query
    sql: str
    source: str
    steps: tuple[Step, ...] = ()

    @property
    def rules(self) -> tuple[str, ...]:
        return tuple(step.rule for step in self.steps)


@dataclass(frozen=True)
class Feedback:
    """What the pipeline tells a candidate source about a candidate that it has just proposed.

    ``rejected`` is None or the reason why this candidate is out (does not bind, refuted, another number of rows);
    the others are None where not asked or not to be had. ``seconds`` is the time of one run on the target,
    ``stopped_after`` the limit (seconds) at which that run was stopped.
    """

    rejected: str | None = None
    verdict: Verdict | None = None
    plan: Plan | None = None
    seconds: float | None = None
    stopped_after: float | None = None

    @property
    def cost(self) -> float | None:
        """The plan's cost in the engine's own unit."""
        return self.plan.cost if self.plan is not None else None


class VerdictKind(StrEnum):
    """How equivalence is known, strongest first; see README for what each means."""

    PROVED = "proved"
    BOUNDED = "bounded"
    TESTED = "tested"
    UNKNOWN = "unknown"
    REFUTED = "refuted"

    @property
    def accepts(self) -> bool:
        return self in (VerdictKind.PROVED, VerdictKind.BOUNDED, VerdictKind.TESTED)

    def at_least(self, required: VerdictKind) -> bool:
        """Whether this verdict is as strong as ``required`` or stronger."""
        order = list(VerdictKind)
        return order.index(self) <= order.index(required)


@dataclass(frozen=True)
class TableRows:
    """The rows of one table in a generated database. ``columns`` may leave out columns that no query reads."""

    table: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    schema: str | None = None


@dataclass(frozen=True)
class Database:
    """A small generated database that satisfies the catalog's constraints."""

    tables: tuple[TableRows, ...]

    @property
    def size(self) -> int:
        """Rows in all tables."""
        return sum(len(table.rows) for table in self.tables)


@dataclass(frozen=True)
class Result:
    """What one run returned. ``types`` are the engine's type names. ``truncated``: the row limit cut it."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[Row, ...]
    seconds: float = 0.0
    truncated: bool = False


@dataclass(frozen=True)
class Counterexample:
    """The smallest database found on which two queries differ, with both results.

    ``scripts`` maps a dialect to SQL that anyone can run: it creates and fills the tables and runs both queries.
    ``confirmed_on`` names the engines that showed the difference. ``explanation`` is one sentence. ``parameters``: the
    values that the query's parameters had, as text (None: NULL); empty when it has none.
    """

    database: Database
    original: Result
    candidate: Result
    scripts: Mapping[str, str]
    confirmed_on: tuple[str, ...]
    explanation: str
    parameters: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Adequacy:
    """How good the tests were. ``non_empty``: databases where the original returned rows. ``mutants`` of the original
    were run on the same databases (None: not asked), which killed ``killed`` of them; ``alive`` names the faults that
    none showed."""

    databases: int
    non_empty: int
    mutants: int | None = None
    killed: int | None = None
    alive: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """Whether two queries are equivalent and how that is known. ``method`` names the rung that decided.
    ``assumptions``: constraints of the catalog that the verdict may rest on. ``proof``: its steps, for reading.
    ``bound``: up to how many rows in each table all databases were searched (``bounded``). ``observed``: None when the
    verdict holds for all values of the query's parameters; else the sets of values, of those given, that it was tested
    with, by label (it may have none of them, and was then tested with generated values alone)."""

    kind: VerdictKind
    method: str
    reason: str
    adequacy: Adequacy | None = None
    counterexample: Counterexample | None = None
    assumptions: tuple[str, ...] = ()
    confirmed_on: tuple[str, ...] = ()
    seconds: float = 0.0
    seed: int = 0
    proof: tuple[str, ...] = ()
    bound: int | None = None
    observed: Mapping[str, Row] | None = None

    @property
    def holds_for(self) -> Literal["all", "observed"]:
        """The values of the query's parameters that the verdict is about."""
        return "all" if self.observed is None else "observed"


@dataclass(frozen=True)
class Plan:
    """One node of an engine's plan in neutral words. ``cost`` and ``rows`` are the engine's estimates."""

    operator: str
    detail: Mapping[str, str] = field(default_factory=dict)
    rows: float | None = None
    cost: float | None = None
    children: tuple[Plan, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """The timings of one entrant of a race. ``label`` is a candidate's id or ``original``.

    ``stopped_after`` is the limit (seconds) at which its runs were stopped, None if all runs ended by themselves;
    ``error`` says why it could not be run.
    """

    label: str
    seconds: tuple[float, ...] = ()
    stopped_after: float | None = None
    error: str | None = None
    rows: int | None = None

    @property
    def median(self) -> float | None:
        if not self.seconds:
            return None
        ordered = sorted(self.seconds)
        middle = len(ordered) // 2
        return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


@dataclass(frozen=True)
class SetRace:
    """The race with one set of values for the query's parameters. ``label`` names the set by its place among those
    given, never by its values."""

    label: str
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True)
class Speedup:
    """Ratio original time / candidate time with a confidence interval. ``at_least``: the original was stopped at its
    limit, so the true ratio is higher."""

    ratio: float
    low: float
    high: float
    at_least: bool = False


@dataclass(frozen=True)
class CornerGain:
    """The speedup with other constants. ``levels``: low, mid or high selectivity by predicate; low: few rows pass."""

    levels: Mapping[str, str]
    gain: Speedup


@dataclass(frozen=True)
class Robustness:
    """How a rewrite does with other constants than those of the query. ``how`` it was found out: measured, by the
    engine's plan, or not (``reason``). ``wrong`` says where it failed or returned another number of rows."""

    how: Literal["measured", "plan", "none"]
    reason: str = ""
    corners: tuple[CornerGain, ...] = ()
    wrong: str | None = None

    @property
    def worst(self) -> CornerGain | None:
        return min(self.corners, key=lambda corner: corner.gain.ratio, default=None)

    @property
    def share_not_slower(self) -> float | None:
        """The share of corners at which the rewrite is not clearly slower than the original."""
        if not self.corners:
            return None
        return sum(corner.gain.high >= 1.0 for corner in self.corners) / len(self.corners)


@dataclass(frozen=True)
class Loser:
    """A candidate that was not chosen. ``stage`` is where it lost: bind, verify, cost, measure, choose."""

    candidate: Candidate
    stage: str
    reason: str
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Trial:
    """A single run during the search, of what ``rules`` in turn made of the original (none: the original itself):
    ``seconds``, or the limit at which it was stopped."""

    rules: tuple[str, ...]
    seconds: float | None
    stopped_after: float | None = None


@dataclass(frozen=True)
class Decision:
    """The outcome: ``chosen`` is None when the original is kept; ``reason`` says why in one sentence."""

    chosen: Candidate | None
    reason: str
    speedup: Speedup | None = None
    losers: tuple[Loser, ...] = ()


@dataclass(frozen=True)
class Report:
    """All there is to say about one rewrite. ``timings`` maps a stage to the seconds spent in it; ``trials`` are the
    single runs of the search, the original's first. ``measurements`` are totals over ``sets``, the races with each set
    of parameter values, where the query has parameters."""

    query: Query
    target: str
    engine: str
    decision: Decision
    verdict: Verdict | None
    original_plan: Plan | None
    chosen_plan: Plan | None
    measurements: tuple[Measurement, ...]
    candidates: int
    timings: Mapping[str, float]
    notes: tuple[str, ...] = ()
    trials: tuple[Trial, ...] = ()
    sets: tuple[SetRace, ...] = ()
    robustness: Robustness | None = None


@dataclass(frozen=True)
class Event:
    """Progress of long work in one ``stage`` (parse, candidates, verify, measure); ``total`` 0: unknown. ``data`` tells
    programs how a single candidate fared."""

    stage: str
    message: str
    done: int = 0
    total: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)


Progress = Callable[[Event], None]


def quiet(event: Event) -> None:
    """A Progress that says nothing."""


NUMERIC = (int, float, Decimal)
