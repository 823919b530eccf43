"""What every form of the report says, in the same words."""

from __future__ import annotations

import difflib

import sqlglot
from sqlglot.errors import SqlglotError

from rewriter.records import Plan, Report, Verdict, VerdictKind
from rewriter.report.units import count, ratio


def headline(report: Report) -> str:
    """One line: the gain and how equivalence is known, or why the original is kept."""
    decision = report.decision
    if decision.chosen is None:
        return decision.reason[:1].upper() + decision.reason[1:]
    gain = decision.speedup
    faster = f"{ratio(gain.ratio)} faster" if gain else "Rewritten"
    if gain is not None and gain.at_least:
        faster = f"At least {ratio(gain.ratio)} faster (the original was stopped at its limit)"
    return f"{faster}, {evidence(report.verdict)}" if report.verdict else faster


def evidence(verdict: Verdict) -> str:
    """How equivalence is known, in a few words."""
    adequacy = verdict.adequacy
    if verdict.kind is VerdictKind.TESTED and adequacy is not None:
        text = f"tested on {count(adequacy.databases, 'generated database')}"
        text += f" ({adequacy.non_empty:,} where the original returned rows)"
        if adequacy.mutants:
            text += f" that kill {(adequacy.killed or 0) / adequacy.mutants:.0%} of {count(adequacy.mutants, 'mutant')}"
        return text
    return f"{verdict.kind.value}: {verdict.reason}"


def pretty(sql: str, dialect: str) -> str:
    """``sql`` laid out one clause a line, so that two texts can be compared by structure; as given if unreadable."""
    try:
        return sqlglot.parse_one(sql, read=dialect).sql(dialect=dialect, pretty=True)
    except (SqlglotError, RecursionError):
        return sql.strip()


def sql_diff(report: Report) -> list[tuple[str, str]]:
    """(mark, line) of the difference between the original and the chosen text, both laid out alike.

    ``mark`` is `` ``, ``-`` or ``+``. Both sides are the qualified trees, so that spelling does not count as a change.
    """
    if report.decision.chosen is None:
        return []
    before = report.query.sql(pretty=True).splitlines()
    after = report.decision.chosen.sql.splitlines()
    lines = difflib.ndiff(before, after)
    return [(line[0], line[2:]) for line in lines if line[0] in " -+"]


def plan_lines(plan: Plan, depth: int = 0) -> list[str]:
    """A plan as indented lines."""
    facts = [f"{name}: {value}" for name, value in plan.detail.items()]
    if plan.rows is not None:
        facts.append(f"rows={plan.rows:,.0f}")
    if plan.cost is not None:
        facts.append(f"cost={plan.cost:,.0f}")
    line = f"{'  ' * depth}{plan.operator}" + (f"  ({'; '.join(facts)})" if facts else "")
    return [line, *(text for child in plan.children for text in plan_lines(child, depth + 1))]
