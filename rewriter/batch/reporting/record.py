"""A run over query logs as data: the models whose JSON Schema is ``schema.json``. Every format is made of them alone.

Times are seconds. ``version`` rises when a field changes its meaning or goes; new fields do not raise it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from rewriter.report.model import MeasurementModel, PlanModel, SpeedupModel, StepModel, VerdictModel

VERSION: Literal[1] = 1
Outcome = Literal["faster", "kept", "refused", "failed", "known"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class IntervalModel(_Model):
    low: float
    expected: float
    high: float


class SavingModel(_Model):
    """What a rewrite would save, from the calls and times in the log and the measured ratio with its interval."""

    log: IntervalModel = Field(description="seconds of what the log tells of")
    day: IntervalModel | None = Field(description="seconds a day; null: the log's time span is unknown or too short")
    at_least: bool = Field(description="the original was stopped at its limit, so expected is a lower bound")


class PlaceModel(_Model):
    file: str
    line: int = Field(description="counted from 1, of the unpacked content")


class SkippedModel(_Model):
    reason: str
    kind: Literal["no statement", "set aside", "malformed"]
    lines: int
    places: list[PlaceModel] = Field(description="a few of them; what stands there is not repeated")


class TotalModel(_Model):
    entries: int
    calls: int
    seconds: float


class BinModel(_Model):
    low: float
    high: float
    count: int


class ResultModel(_Model):
    outcome: Outcome = Field(description="known: worked on in an earlier run, whose result this is")
    reason: str
    faster: bool = Field(description="there is a verified rewrite that was measured to be faster")
    rewrite: str | None = Field(description="id of the full report in the store")
    original: str | None = Field(description="the statement that was rewritten; its values may be of an earlier run")
    sql: str | None = Field(description="the rewrite of original")
    speedup: SpeedupModel | None
    evidence: str = Field(description="how equivalence is known, in a few words; empty without a rewrite")
    verdict: VerdictModel | None
    holds_for: Literal["all", "observed"] | None = Field(
        default=None, description="values of the statement's parameters that the verdict holds for"
    )
    regressions: list[str] = Field(
        default=[], description="the sets of parameter values with which the rewrite is clearly slower"
    )
    steps: list[StepModel]
    saving: SavingModel | None
    original_plan: PlanModel | None
    chosen_plan: PlanModel | None
    measurements: list[MeasurementModel] = Field(description="of the original and the rewrite")


class GroupModel(_Model):
    key: str = Field(description="group key; what --ignore takes")
    statement: str | None = Field(description="the slowest statement of the group as logged, with its values")
    place: PlaceModel | None = Field(description="where that statement is logged")
    entries: int
    calls: int
    seconds: float
    share: float = Field(description="of the time of all statements, 0 to 1")
    mean: float | None
    p50: float | None
    p95: float | None
    most: float | None
    histogram: list[BinModel] = Field(description="durations of single calls, in bins of equal ratio")
    first_seen: datetime | None
    last_seen: datetime | None
    parameter_sets: int
    parsed: bool
    squashed: int = Field(description="entries whose lists of constants the server has shortened")
    result: ResultModel | None = Field(description="null: not worked on")


class BatchModel(_Model):
    """What ``rewriter batch --format json`` writes."""

    version: Literal[1] = VERSION
    tool: str
    target: str | None = Field(description="without credentials; null: the logs were only ranked")
    dialect: str
    new_part_only: bool = Field(description="only what was written since the last run is counted (--since-last)")
    interrupted: bool
    waiting: int = Field(description="groups that an interrupted run has not come to")
    files: list[str]
    lines: int
    entries: int
    first_seen: datetime | None
    last_seen: datetime | None
    total: TotalModel = Field(description="of all statements, whatever their kind")
    group_count: int
    groups: list[GroupModel] = Field(description="those that took the most time in total, in that order")
    others: TotalModel = Field(description="groups beyond those listed")
    beyond: TotalModel = Field(description="statements of more shapes than there is room for")
    other_statements: dict[str, TotalModel] = Field(description="what is no SELECT, by kind")
    ignored: dict[str, TotalModel] = Field(description="groups that --ignore names, by key")
    unmatched_ignores: list[str] = Field(description="keys that --ignore names and no statement has")
    skipped: list[SkippedModel]
    damaged: dict[str, str] = Field(description="files that could not be read to their end, and why")
    outcomes: dict[str, int]
    saving: SavingModel | None = Field(description="sums of the groups' savings; the bounds are sums of bounds")
    spent: float | None = Field(description="US dollars that a model has cost; null: none was asked")
    notes: list[str]

    @property
    def span(self) -> float | None:
        """Seconds between the first and the last statement."""
        if self.first_seen is None or self.last_seen is None:
            return None
        return (self.last_seen - self.first_seen).total_seconds()

    @property
    def faster(self) -> list[GroupModel]:
        return [group for group in self.groups if group.result is not None and group.result.faster]
