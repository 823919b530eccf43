"""A stored report as the page of a rewrite tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from api.console.views import plans, timings
from api.console.views.difference import Block, difference
from rewriter.report.model import LoserModel, MeasurementModel, ReportModel, VerdictModel
from rewriter.report.text import evidence, interval, unnoticed, why
from rewriter.report.units import count, duration, ratio


@dataclass(frozen=True)
class Explained:
    """A step in plain words."""

    rule: str
    summary: str
    why: str
    documented: bool
    verdict: VerdictModel | None


@dataclass(frozen=True)
class Outcome:
    """``report`` with what is said about it."""

    report: ReportModel

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Outcome:
        return cls(ReportModel.model_validate(document))

    @property
    def headline(self) -> str:
        report, gain = self.report, self.report.speedup
        if report.chosen is None:
            return "The original is kept"
        if gain is None:
            return "Rewritten, not measured"
        return f"At least {ratio(gain.ratio)} faster" if gain.at_least else f"{ratio(gain.ratio)} faster"

    @property
    def known_by(self) -> str:
        """How equivalence is known, or why the original is kept."""
        report = self.report
        if report.chosen is None or report.verdict is None:
            return report.reason[:1].upper() + report.reason[1:]
        said = evidence(report.verdict)
        return said[:1].upper() + said[1:]

    @property
    def unnoticed(self) -> str | None:
        return unnoticed(self.report.verdict) if self.report.verdict is not None else None

    @property
    def interval(self) -> str | None:
        return interval(self.report.speedup) if self.report.speedup is not None else None

    @property
    def original_time(self) -> str:
        return _time(self._measured("original"))

    @property
    def chosen_time(self) -> str:
        return _time(self._measured(self.report.chosen.id)) if self.report.chosen is not None else "-"

    @property
    def scope(self) -> str | None:
        report = self.report
        if not report.parameters or report.holds_for is None:
            return None
        if report.holds_for == "all":
            return "holds for all values of the parameters"
        given = f" and {count(len(report.parameter_sets), 'given set')}" if report.parameter_sets else ""
        return f"tested with generated values of the parameters{given}; not known for all values"

    @cached_property
    def before(self) -> str:
        return self.report.qualified or self.report.original

    @cached_property
    def blocks(self) -> list[Block]:
        report = self.report
        return difference(self.before, report.chosen.sql, report.dialect) if report.chosen is not None else []

    @cached_property
    def plans(self) -> list[plans.Plan]:
        return plans.side_by_side(self.report.original_plan, self.report.chosen_plan)

    @cached_property
    def plot(self) -> timings.Plot | None:
        return timings.plot(self.report)

    @property
    def steps(self) -> list[Explained]:
        chosen = self.report.chosen
        if chosen is None:
            return []
        return [Explained(s.rule, s.summary, why(s.rule), bool(why(s.rule)), s.verdict) for s in chosen.steps]

    @property
    def losers(self) -> list[LoserModel]:
        """Those with a counterexample last: what they cost is most to read."""
        return sorted(self.report.losers, key=lambda one: one.verdict is not None and bool(one.verdict.counterexample))

    @property
    def sets(self) -> list[tuple[str, str, str, str, bool]]:
        return [
            (
                one.label,
                duration(one.original_seconds) if one.original_seconds is not None else "stopped",
                duration(one.chosen_seconds),
                ratio(one.ratio, at_least=one.at_least),
                one.slower,
            )
            for one in self.report.sets
        ]

    def _measured(self, label: str) -> MeasurementModel | None:
        return next((one for one in self.report.measurements if one.label == label), None)


def _time(entry: MeasurementModel | None) -> str:
    if entry is None:
        return "-"
    return f"> {duration(entry.stopped_after)}" if entry.stopped_after is not None else duration(entry.median)
