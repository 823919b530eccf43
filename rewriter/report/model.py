"""The report as data: the models whose JSON Schema is ``schema.json``, and how they are filled.

``version`` rises when a field changes its meaning or goes; new fields do not raise it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rewriter.records import (
    Candidate,
    Counterexample,
    Loser,
    Measurement,
    Plan,
    Report,
    Result,
    Robustness,
    Row,
    SetRace,
    Speedup,
    TableRows,
    Verdict,
)
from rewriter.statistics import CLOCK_NOISE, regression, speedup

VERSION: Literal[1] = 1


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TableModel(_Model):
    table: str
    columns: list[str]
    rows: list[list[Any]] = Field(description="values as JSON; decimals, dates and the like as text")


class CounterexampleModel(_Model):
    tables: list[TableModel]
    original: TableModel = Field(description="what the original returns on these tables")
    candidate: TableModel = Field(description="what the candidate returns on these tables")
    scripts: dict[str, str] = Field(description="runnable SQL by dialect")
    confirmed_on: list[str]
    explanation: str


class AdequacyModel(_Model):
    databases: int
    non_empty: int = Field(description="databases on which the original returned rows")
    mutants: int | None = Field(default=None, description="faulty variants of the original that were run on them")
    killed: int | None = Field(default=None, description="mutants whose answer differed on one of them at least")
    alive: list[str] = Field(default=[], description="the faults that none of them showed")


class VerdictModel(_Model):
    kind: Literal["proved", "bounded", "tested", "refuted", "unknown"]
    method: str
    reason: str
    adequacy: AdequacyModel | None
    counterexample: CounterexampleModel | None
    assumptions: list[str]
    proof: list[str] = Field(default=[], description="the steps of a proof, for reading")
    confirmed_on: list[str]
    seconds: float
    seed: int
    bound: int | None = Field(
        default=None, description="rows a table up to which all databases were searched (bounded)"
    )


class PlanModel(_Model):
    operator: str
    detail: dict[str, str]
    rows: float | None = Field(description="estimated rows")
    cost: float | None = Field(description="estimated cost in the engine's own unit")
    children: list[PlanModel]


class MeasurementModel(_Model):
    label: str = Field(description="id of a candidate, original, or also:NAME for a foreign text")
    seconds: list[float] = Field(description="wall seconds of each timed run")
    median: float | None
    stopped_after: float | None = Field(description="seconds after which its runs were stopped")
    error: str | None
    rows: int | None


class SpeedupModel(_Model):
    ratio: float = Field(description="original time / candidate time")
    low: float
    high: float
    at_least: bool = Field(description="the original was stopped, so the ratio is a lower bound")


class StepModel(_Model):
    rule: str = Field(description="name of the rule, family/name")
    summary: str = Field(description="what the rule does, one sentence")
    sql: str = Field(default="", description="the whole query after this step; for the chosen candidate only")
    verdict: VerdictModel | None = Field(default=None, description="on this step alone, where that was asked for")


class CandidateModel(_Model):
    id: str
    sql: str
    source: str = Field(description="what proposed it; rules for the executable rules")
    steps: list[StepModel]


class LoserModel(_Model):
    candidate: CandidateModel
    stage: str
    reason: str
    verdict: VerdictModel | None


class SetModel(_Model):
    label: str = Field(description="the set's place among those given; of its values nothing is said here")
    original_seconds: float | None = Field(description="median; null: it was stopped at its limit")
    chosen_seconds: float | None = Field(description="median; null: the original is kept")
    ratio: float | None = Field(description="original time / chosen time with this set alone")
    low: float | None
    high: float | None
    at_least: bool = Field(description="the original was stopped, so the ratio is a lower bound")
    slower: bool = Field(description="the rewrite is clearly slower with this set, beyond the noise")


class CornerModel(_Model):
    levels: dict[str, str] = Field(description="low, mid or high selectivity by column (low: few rows pass); no values")
    ratio: float = Field(description="original time (or plan cost) / chosen time (or plan cost)")
    low: float
    high: float


class RobustnessModel(_Model):
    how: Literal["measured", "plan", "none"]
    reason: str = Field(description="why it was not found out, or not at all corners")
    corners: list[CornerModel]
    worst: float | None = Field(description="the lowest ratio")
    share_not_slower: float | None = Field(description="share of corners at which the rewrite is not clearly slower")


class ReportModel(_Model):
    """What ``rewriter rewrite --json`` prints and the API answers."""

    version: Literal[1] = VERSION
    target: str
    engine: str
    dialect: str
    original: str = Field(description="the statement as given")
    qualified: str = Field(
        default="", description="the original laid out like the candidates: names qualified, stars and views expanded"
    )
    group_key: str
    rewrite_key: str
    nondeterminism: list[str]
    parameters: list[str] = Field(default=[], description="the markers of $1, $2, ... as they stand in the original")
    ordered: bool = Field(default=False, description="the order of the rows is part of the meaning")
    chosen: CandidateModel | None = Field(description="null: the original is kept")
    reason: str
    speedup: SpeedupModel | None
    verdict: VerdictModel | None
    holds_for: Literal["all", "observed"] | None = Field(
        default=None,
        description="values of the query's parameters for which the verdict holds; all without parameters and for a "
        "proof, else those that it was tested with; null: the original is kept",
    )
    parameter_sets: dict[str, list[Any]] = Field(
        default={}, description="the given sets of values that the verdict was tested with, by label (observed)"
    )
    original_plan: PlanModel | None
    chosen_plan: PlanModel | None
    measurements: list[MeasurementModel] = Field(description="with parameters: totals over the sets")
    sets: list[SetModel] = Field(default=[], description="the times with each set of parameter values")
    robustness: RobustnessModel | None = Field(
        default=None, description="the rewrite with other constants; null: the original is kept, or nobody looked"
    )
    losers: list[LoserModel]
    candidates: int = Field(description="how many candidates were found")
    timings: dict[str, float] = Field(description="seconds spent per stage")
    notes: list[str]


def model(report: Report) -> ReportModel:
    decision = report.decision
    return ReportModel(
        target=report.target,
        engine=report.engine,
        dialect=report.query.dialect,
        original=report.query.text,
        qualified=report.query.sql(pretty=True),
        group_key=report.query.group_key,
        rewrite_key=report.query.rewrite_key,
        nondeterminism=list(report.query.nondeterminism),
        parameters=[one.marker for one in sorted(report.query.parameters, key=lambda one: one.position)],
        ordered=report.query.tree.args.get("order") is not None,
        chosen=_candidate(decision.chosen, traced=True) if decision.chosen else None,
        reason=decision.reason,
        speedup=_speedup(decision.speedup) if decision.speedup else None,
        verdict=verdict_model(report.verdict) if report.verdict else None,
        holds_for=report.verdict.holds_for if report.verdict else None,
        parameter_sets={label: [_value(value) for value in row] for label, row in _observed(report.verdict).items()},
        sets=[set_model(one, decision.chosen) for one in report.sets],
        original_plan=plan_model(report.original_plan) if report.original_plan else None,
        chosen_plan=plan_model(report.chosen_plan) if report.chosen_plan else None,
        measurements=[_measurement(entry) for entry in report.measurements],
        robustness=_robustness(report.robustness) if report.robustness else None,
        losers=[_loser(loser) for loser in decision.losers],
        candidates=report.candidates,
        timings=dict(report.timings),
        notes=list(report.notes),
    )


def _candidate(candidate: Candidate, *, traced: bool = False) -> CandidateModel:
    steps = [
        StepModel(
            rule=step.rule,
            summary=step.summary,
            sql=step.sql if traced else "",
            verdict=verdict_model(step.verdict) if traced and step.verdict is not None else None,
        )
        for step in candidate.steps
    ]
    return CandidateModel(id=candidate.id, sql=candidate.sql, source=candidate.source, steps=steps)


def _speedup(gain: Speedup) -> SpeedupModel:
    return SpeedupModel(ratio=gain.ratio, low=gain.low, high=gain.high, at_least=gain.at_least)


def _observed(verdict: Verdict | None) -> Mapping[str, Row]:
    return (verdict.observed or {}) if verdict is not None else {}


def _robustness(found: Robustness) -> RobustnessModel:
    return RobustnessModel(
        how=found.how,
        reason=found.reason,
        corners=[
            CornerModel(levels=dict(one.levels), ratio=one.gain.ratio, low=one.gain.low, high=one.gain.high)
            for one in found.corners
        ],
        worst=found.worst.gain.ratio if found.worst is not None else None,
        share_not_slower=found.share_not_slower,
    )


def set_model(race: SetRace, chosen: Candidate | None) -> SetModel:
    """The times with one set of parameter values, and how the chosen one compares there."""
    times = {entry.label: entry for entry in race.measurements}
    original, own = times["original"], times.get(chosen.id) if chosen is not None else None
    gain = speedup(original, own) if own is not None else None
    return SetModel(
        label=race.label,
        original_seconds=original.median,
        chosen_seconds=own.median if own is not None else None,
        ratio=gain.ratio if gain is not None else None,
        low=gain.low if gain is not None else None,
        high=gain.high if gain is not None else None,
        at_least=gain.at_least if gain is not None else False,
        slower=own is not None and regression(original, own, noise=CLOCK_NOISE) is not None,
    )


def verdict_model(verdict: Verdict) -> VerdictModel:
    adequacy = verdict.adequacy
    return VerdictModel(
        kind=verdict.kind.value,
        method=verdict.method,
        reason=verdict.reason,
        adequacy=AdequacyModel(
            databases=adequacy.databases,
            non_empty=adequacy.non_empty,
            mutants=adequacy.mutants,
            killed=adequacy.killed,
            alive=list(adequacy.alive),
        )
        if adequacy
        else None,
        counterexample=_counterexample(verdict.counterexample) if verdict.counterexample else None,
        assumptions=list(verdict.assumptions),
        proof=list(verdict.proof),
        confirmed_on=list(verdict.confirmed_on),
        seconds=verdict.seconds,
        seed=verdict.seed,
        bound=verdict.bound,
    )


def _counterexample(found: Counterexample) -> CounterexampleModel:
    return CounterexampleModel(
        tables=[_table(table) for table in found.database.tables],
        original=_result("original", found.original),
        candidate=_result("candidate", found.candidate),
        scripts=dict(found.scripts),
        confirmed_on=list(found.confirmed_on),
        explanation=found.explanation,
    )


def _table(rows: TableRows) -> TableModel:
    name = f"{rows.schema}.{rows.table}" if rows.schema else rows.table
    return TableModel(table=name, columns=list(rows.columns), rows=[[_value(v) for v in row] for row in rows.rows])


def _result(name: str, result: Result) -> TableModel:
    return TableModel(table=name, columns=list(result.columns), rows=[[_value(v) for v in row] for row in result.rows])


def _value(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return value
    return str(value)


def plan_model(plan: Plan) -> PlanModel:
    return PlanModel(
        operator=plan.operator,
        detail=dict(plan.detail),
        rows=plan.rows,
        cost=plan.cost,
        children=[plan_model(child) for child in plan.children],
    )


def _measurement(entry: Measurement) -> MeasurementModel:
    return MeasurementModel(
        label=entry.label,
        seconds=list(entry.seconds),
        median=entry.median,
        stopped_after=entry.stopped_after,
        error=entry.error,
        rows=entry.rows,
    )


def _loser(loser: Loser) -> LoserModel:
    return LoserModel(
        candidate=_candidate(loser.candidate),
        stage=loser.stage,
        reason=loser.reason,
        verdict=verdict_model(loser.verdict) if loser.verdict else None,
    )
