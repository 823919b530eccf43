"""What every form of the report says, in the same words."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cache

from rewriter.errors import RuleFileError
from rewriter.records import Measurement, Plan, Speedup, Verdict, VerdictKind
from rewriter.report.model import MeasurementModel, PlanModel, ReportModel, SpeedupModel, VerdictModel
from rewriter.report.units import count, duration, ratio
from rewriter.statistics import CONFIDENCE
from rules.discovery import discover

MEANING = {
    VerdictKind.PROVED: "the two return the same on every database that keeps the catalog's constraints",
    VerdictKind.BOUNDED: "the two return the same on every database up to a stated number of rows per table",
    VerdictKind.TESTED: "no database was found on which the two differ; strong evidence, and not a proof",
    VerdictKind.REFUTED: "there is a database on which the two differ",
    VerdictKind.UNKNOWN: "nothing is known about whether the two return the same",
}
ALIVE_SHOWN = 6  # faults that are named


@cache
def _invisible() -> dict[int, str]:
    table = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
    table |= {0x7F: "\u2421"}
    unwanted = (
        range(0x80, 0xA0),
        (0x200B,),
        range(0x200E, 0x2010),
        range(0x2028, 0x202F),
        range(0x2066, 0x206A),
        (0x061C, 0xFEFF),
    )
    for codes in (*unwanted, range(0xD800, 0xE000)):
        table |= {code: f"<U+{code:04X}>" for code in codes}
    return table


def visible(text: str) -> str:
    """``text`` with control characters and those that turn its direction shown as what they are.

    SQL, names and values are other people's: they must neither drive the reader's terminal nor look like something
    else than what would run (CVE-2021-42574). Lone surrogates, which no file can hold, are shown likewise.
    """
    return text.translate(_invisible())


def headline(report: ReportModel) -> str:
    """One line: the gain and how equivalence is known, or why the original is kept."""
    if report.chosen is None:
        return report.reason[:1].upper() + report.reason[1:]
    faster = faster_by(report.speedup)
    return f"{faster}, {evidence(report.verdict)}" if report.verdict else faster


def faster_by(gain: SpeedupModel | None) -> str:
    """The gain alone."""
    if gain is None:
        return "Rewritten"
    if gain.at_least:
        return f"At least {ratio(gain.ratio)} faster (the original was stopped at its limit)"
    return f"{ratio(gain.ratio)} faster"


def evidence(verdict: Verdict | VerdictModel) -> str:
    """How equivalence is known, in a few words."""
    adequacy = verdict.adequacy
    if verdict.kind in (VerdictKind.TESTED, VerdictKind.BOUNDED) and adequacy is not None:
        text = f"no difference on any database of up to {verdict.bound} rows a table, " if verdict.bound else ""
        text += f"tested on {count(adequacy.databases, 'generated database')}"
        text += f" ({adequacy.non_empty:,} where the original returned rows)"
        if adequacy.mutants:
            text += f" that kill {(adequacy.killed or 0) / adequacy.mutants:.0%} of {count(adequacy.mutants, 'mutant')}"
        return text
    return f"{verdict.kind!s}: {verdict.reason}"


def unnoticed(verdict: Verdict | VerdictModel) -> str | None:
    """The faults that the tests would not have noticed, in one sentence; None when there are none."""
    alive = verdict.adequacy.alive if verdict.adequacy is not None else ()
    if not alive:
        return None
    more = f"; and {len(alive) - ALIVE_SHOWN} more" if len(alive) > ALIVE_SHOWN else ""
    return f"faults that these databases would not show, if they are any: {'; '.join(alive[:ALIVE_SHOWN])}{more}"


def interval(gain: Speedup | SpeedupModel) -> str:
    """How sure the speedup is, in a few words."""
    if gain.at_least:
        return f"at least {ratio(gain.low)} with {CONFIDENCE:.0%} confidence"
    return f"{ratio(gain.low)} to {ratio(gain.high)} with {CONFIDENCE:.0%} confidence"


def why(rule: str) -> str:
    """Why a rule helps, as its document says; empty for a rule that has no document here."""
    return " ".join(_reasons().get(rule, "").split())


@cache
def _reasons() -> dict[str, str]:
    try:
        return {document.name: document.why for document in discover()}
    except RuleFileError:
        return {}  # a broken document is the rule search's to tell; it must not cost a finished report


def scope(report: ReportModel) -> str | None:
    """For which values of its parameters a rewrite is known to be right; None where that is no question."""
    if report.holds_for is None or not report.parameters:
        return None
    if report.holds_for == "all":
        return "holds for all values of the parameters"
    sets = report.parameter_sets
    given = f" and {count(len(sets), 'given set')}" if sets else ""
    return f"tested with generated values of the parameters{given}; not known for all values"


def varied(report: ReportModel) -> str | None:
    """How the rewrite does with other constants, in one sentence; None where nobody looked."""
    found = report.robustness
    if found is None or not found.corners or found.share_not_slower is None:
        return None
    worst = min(found.corners, key=lambda corner: corner.ratio)
    where = ", ".join(f"{name} {level}" for name, level in worst.levels.items())
    how = "measured" if found.how == "measured" else "by the engine's estimates"
    text = f"not slower at {found.share_not_slower:.0%} of {count(len(found.corners), 'corner')} of its selectivities"
    left = f"; {found.reason}" if found.reason else ""
    return f"{text}, at worst {ratio(worst.ratio)} ({where}), {how}{left}"


def set_rows(report: ReportModel) -> list[tuple[str, str, str, str, str]]:
    """(set, original, chosen, ratio, note) for each set of parameter values, where there are several."""
    if len(report.sets) < 2:
        return []
    return [
        (
            one.label,
            duration(one.original_seconds) if one.original_seconds is not None else "stopped",
            duration(one.chosen_seconds),
            ratio(one.ratio, at_least=one.at_least),
            ("slower; " if one.slower else "") + (f"{ratio(one.low)} to {ratio(one.high)}" if one.low else ""),
        )
        for one in report.sets
    ]


def note(entry: Measurement | MeasurementModel) -> str:
    """Why an entrant of a race has no or few timings."""
    if entry.error:
        return entry.error
    return f"stopped after {duration(entry.stopped_after)}" if entry.stopped_after else ""


def timed(entry: MeasurementModel | None) -> str:
    """An entrant's median; of one that was stopped, more than its limit."""
    if entry is None:
        return "-"
    return f"> {duration(entry.stopped_after)}" if entry.stopped_after is not None else duration(entry.median)


def sql_diff(report: ReportModel) -> list[tuple[str, str]]:
    """(mark, line) of the difference between the original and the chosen text, both laid out alike.

    ``mark`` is `` ``, ``-`` or ``+``. Both sides are the qualified trees, so that spelling does not count as a change.
    """
    if report.chosen is None:
        return []
    return line_diff((report.qualified or report.original).splitlines(), report.chosen.sql.splitlines())


def line_diff(before: Sequence[str], after: Sequence[str]) -> list[tuple[str, str]]:
    """(mark, line): what both have, what only ``before`` has, what only ``after`` has.

    By whole lines only: difflib's ndiff would look for likenesses inside lines, in cubic time.
    """
    lines: list[tuple[str, str]] = []
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for kind, start, end, other_start, other_end in matcher.get_opcodes():
        if kind == "equal":
            lines += [(" ", line) for line in before[start:end]]
        else:
            lines += [("-", line) for line in before[start:end]]
            lines += [("+", line) for line in after[other_start:other_end]]
    return lines


def facts(plan: Plan | PlanModel) -> list[str]:
    """What is known of one node of a plan besides its operator."""
    known = [f"{name}: {value}" for name, value in plan.detail.items()]
    if plan.rows is not None:
        known.append(f"rows={plan.rows:,.0f}")
    if plan.cost is not None:
        known.append(f"cost={plan.cost:,.0f}")
    return known


def plan_lines(plan: Plan, lead: str = "", joint: str = "") -> list[str]:
    """A plan as a tree of lines."""
    known = facts(plan)
    lines = [visible(f"{lead}{joint}{plan.operator}" + (f"  ({'; '.join(known)})" if known else ""))]
    lead += {"": "", "├─ ": "│  ", "└─ ": "   "}[joint]
    for child in plan.children:
        lines += plan_lines(child, lead, "└─ " if child is plan.children[-1] else "├─ ")
    return lines
