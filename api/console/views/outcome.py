"""A stored report as the page of a rewrite tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from api.console.views import plans, timings
from api.console.views.difference import Block, difference
from rewriter.records import VerdictKind
from rewriter.report.model import LoserModel, MeasurementModel, ReportModel, VerdictModel
from rewriter.report.text import MEANING, evidence, faster_by, interval, scope, set_rows, timed, unnoticed, why


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
        report = self.report
        if report.chosen is None:
            return "The original is kept"
        if report.speedup is None:
            return "Rewritten, not measured"
        return faster_by(report.speedup).partition(" (")[0]

    @property
    def known_by(self) -> str:
        """How equivalence is known, or why the original is kept."""
        report = self.report
        if report.chosen is None or report.verdict is None:
            return report.reason[:1].upper() + report.reason[1:]
        if report.verdict.kind == "proved":
            return f"Proved: {MEANING[VerdictKind.PROVED]}"
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
        return timed(self._measured("original"))

    @property
    def chosen_time(self) -> str:
        return timed(self._measured(self.report.chosen.id)) if self.report.chosen is not None else "-"

    @property
    def scope(self) -> str | None:
        return scope(self.report)

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
    def sets(self) -> list[tuple[str, str, str, str, str]]:
        return set_rows(self.report)

    def _measured(self, label: str) -> MeasurementModel | None:
        return next((one for one in self.report.measurements if one.label == label), None)
