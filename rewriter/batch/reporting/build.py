"""The record of a run, from what was gathered and what came of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal, cast

from pydantic import ValidationError

from rewriter import __version__
from rewriter.batch.logs import Gathered
from rewriter.batch.logs.entries import Reason
from rewriter.batch.logs.grouping import Group, Total
from rewriter.batch.reporting import savings
from rewriter.batch.reporting.record import (
    BatchModel,
    BinModel,
    GroupModel,
    Outcome,
    PlaceModel,
    ResultModel,
    SavingModel,
    SkippedModel,
    TotalModel,
)
from rewriter.batch.work import Done
from rewriter.records import Adequacy, Verdict, VerdictKind
from rewriter.report.model import ReportModel, VerdictModel
from rewriter.report.text import evidence

BINS = 24  # of a histogram
Kind = Literal["no statement", "set aside", "malformed"]

_KINDS: dict[Reason, Kind] = {
    **dict.fromkeys((Reason.TOO_LONG, Reason.TRUNCATED, Reason.EMPTY, Reason.NOT_VISIBLE), "set aside"),
    Reason.PLAN_FORMAT: "set aside",
    **dict.fromkeys((Reason.MALFORMED, Reason.NOT_UTF8, Reason.NUL, Reason.NO_PREFIX), "malformed"),
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What is known of a run besides its log and results. ``documents``: stored reports by the rewrite's id."""

    target: str | None = None
    new_part_only: bool = False
    interrupted: bool = False
    waiting: int = 0
    ignored: Collection[str] = ()
    spent: float | None = None
    documents: Mapping[str, dict[str, Any]] = field(default_factory=dict)


def record_of(gathered: Gathered, done: Sequence[Done], most: int, run: Run) -> BatchModel:
    """The account of the log, its ``most`` groups of the most time in their order, and what came of those worked on."""
    groups, tally = gathered.groups, gathered.tally
    results = {one.item.key: one for one in done}
    ranked = groups.ranked()
    everything, others = Total(), Total()
    first, last = groups.span()
    span = (last - first).total_seconds() if first is not None and last is not None else None
    for part in (*groups.kinds.values(), *groups.ignored.values(), groups.beyond, *(one.total for one in ranked)):
        everything.merge(part)
    for one in ranked[most:]:
        others.merge(one.total)
    listed = [_group(one, everything, results.get(one.key), run, span) for one in ranked[:most]]
    saved = [one.result.saving for one in listed if one.result is not None and one.result.saving is not None]
    files = sorted({*gathered.positions, *tally.damaged})
    return BatchModel(
        tool=f"rewriter {__version__}",
        target=run.target,
        dialect=groups.dialect,
        new_part_only=run.new_part_only,
        interrupted=run.interrupted,
        waiting=run.waiting,
        files=files,
        lines=tally.lines,
        entries=tally.entries,
        first_seen=first,
        last_seen=last,
        total=_total(everything),
        group_count=len(ranked),
        groups=listed,
        others=_total(others),
        beyond=_total(groups.beyond),
        other_statements={kind: _total(total) for kind, total in sorted(groups.kinds.items())},
        ignored={key: _total(total) for key, total in sorted(groups.ignored.items())},
        unmatched_ignores=sorted(set(run.ignored) - set(groups.ignored)),
        skipped=[
            SkippedModel(
                reason=reason.value,
                kind=_KINDS.get(reason, "no statement"),
                lines=number,
                places=[PlaceModel(file=sample.file, line=sample.line) for sample in tally.samples.get(reason, [])],
            )
            for reason, number in sorted(tally.skipped.items(), key=lambda item: (-item[1], item[0]))
        ],
        damaged=dict(sorted(tally.damaged.items())),
        outcomes=dict(sorted(Counter(one.outcome for one in done).items())),
        saving=savings.total(saved),
        spent=run.spent,
        notes=_notes(files, span, tally.skipped, saved),
    )


def _notes(
    files: Sequence[str], span: float | None, skipped: Mapping[Reason, int], saved: Sequence[SavingModel]
) -> list[str]:
    notes = [
        f"{names} are likely one log in several formats: pass one of them, or every call counts again"
        for names in _twice(files)
    ]
    if saved and (span is None or span < savings.LEAST_SPAN):
        told = "no times" if span is None else f"only {span:.0f} s"
        notes.append(f"the log tells of {told}, so savings are told for the log and not for a day")
    if skipped.get(Reason.LONE_DURATION):
        notes.append(
            "there are durations without their statements, as log_duration writes them: set log_min_duration_statement"
        )
    return notes


def _twice(files: Sequence[str]) -> list[str]:
    """Files that differ in their ending alone, as Postgres names its log in each of several formats."""
    named: defaultdict[str, list[str]] = defaultdict(list)
    for file in files:
        path = PurePath(file)
        if path.suffix in (".log", ".csv", ".json"):
            named[str(path.with_suffix(""))].append(path.name)
    return [", ".join(names) for names in named.values() if len(names) > 1]


def _total(total: Total) -> TotalModel:
    return TotalModel(entries=total.entries, calls=total.calls, seconds=total.seconds)


def _group(group: Group, everything: Total, done: Done | None, run: Run, span: float | None) -> GroupModel:
    durations, example, total = group.durations, group.example, group.total
    return GroupModel(
        key=group.key,
        statement=example.statement if example is not None else None,
        place=PlaceModel(file=example.file, line=example.line) if example is not None else None,
        entries=total.entries,
        calls=total.calls,
        seconds=total.seconds,
        share=total.nanoseconds / everything.nanoseconds if everything.nanoseconds else 0.0,
        mean=total.seconds / total.calls if total.calls and total.nanoseconds else None,
        p50=durations.percentile(0.5),
        p95=durations.percentile(0.95),
        most=durations.most if durations.count else None,
        histogram=[BinModel(low=low, high=high, count=count) for low, high, count in durations.bins(BINS)],
        first_seen=group.first_seen,
        last_seen=group.last_seen,
        parameter_sets=len(group.parameters.sets()),
        parsed=group.parsed,
        squashed=group.squashed,
        result=None if done is None else _result(done, run.documents.get(done.rewrite or ""), group, span),
    )


def _result(done: Done, document: dict[str, Any] | None, group: Group, span: float | None) -> ResultModel:
    report = _report(document)
    chosen = report.chosen if report is not None else None
    entries = {entry.label: entry for entry in report.measurements} if report is not None and chosen is not None else {}
    raced = [entries[label] for label in ("original", chosen.id if chosen is not None else "") if label in entries]
    speedup = report.speedup if report is not None and chosen is not None else None
    times = savings.Times(group.total.seconds, group.total.calls, group.durations.bins(savings.BINS))
    took = raced[-1].median if raced else None
    return ResultModel(
        outcome=cast(Outcome, done.outcome),  # checked by the model
        reason=done.reason,
        faster=done.sql is not None,
        rewrite=done.rewrite,
        original=report.original if report is not None else None,
        sql=chosen.sql if chosen is not None else done.sql,
        speedup=speedup,
        evidence=told(report.verdict) if report is not None and chosen is not None and report.verdict else "",
        verdict=report.verdict if report is not None else None,
        holds_for=done.holds_for,
        regressions=list(done.regressions),
        steps=chosen.steps if chosen is not None else [],
        saving=savings.saving(times, speedup, took, span) if speedup is not None else None,
        original_plan=report.original_plan if report is not None else None,
        chosen_plan=report.chosen_plan if report is not None else None,
        measurements=raced,
    )


def told(verdict: VerdictModel) -> str:
    """``evidence`` for a verdict as data."""
    found = verdict.adequacy
    adequacy = None if found is None else Adequacy(found.databases, found.non_empty, found.mutants, found.killed)
    kind = VerdictKind(verdict.kind)
    return evidence(Verdict(kind, verdict.method, verdict.reason, adequacy, bound=verdict.bound))


def _report(document: dict[str, Any] | None) -> ReportModel | None:
    """The stored report; None when it is of a version that is not known here."""
    try:
        return None if document is None else ReportModel.model_validate(document)
    except ValidationError:
        return None
