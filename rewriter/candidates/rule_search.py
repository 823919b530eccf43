"""Best-first search over sequences of executable rules.

A state is a query; its successors are what every rule makes of it at every place. Equal states (up to formatting) are
visited once. The engine's plan cost orders the frontier and nothing else: it is a weak judge of time, so a state that
looks dear is expanded later and not dropped, and every rule's first result comes before another rule's second.
"""

from __future__ import annotations

import heapq
import logging
import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from sqlglot import exp
from sqlglot.errors import SqlglotError

from rewriter.candidates.base import Budget
from rewriter.records import Candidate, Feedback, Query, Step
from rules.discovery import code, executable
from rules.facts import Facts
from rules.rulefile import RuleDocument

log = logging.getLogger(__name__)

MAX_STEPS = 8
PER_RULE_AND_STATE = 12  # successors that one rule may give one state
STEP_DISCOUNT = 0.15  # how much of its rank (orders of magnitude of cost) a state loses per step


@dataclass(order=True)
class _State:
    rank: float
    number: int
    tree: exp.Query = field(compare=False)
    steps: tuple[Step, ...] = field(compare=False)


class RuleSearch:
    """Candidates from the executable rules of the catalogue."""

    name = "rules"

    def candidates(self, query: Query, facts: Facts, budget: Budget) -> Generator[Candidate, Feedback, None]:
        deadline = time.monotonic() + budget.seconds
        rules = executable(query.dialect, facts.version)
        frontier = [_State(0.0, 0, query.tree, ())]
        seen = {_fingerprint(query.tree, query.dialect)}
        count = 0
        while frontier and count < budget.candidates and time.monotonic() < deadline:
            state = heapq.heappop(frontier)
            if len(state.steps) >= MAX_STEPS:
                continue
            for document, tree in _successors(state.tree, rules, facts):
                if count >= budget.candidates or time.monotonic() >= deadline:
                    return
                mark = _fingerprint(tree, query.dialect)
                if mark in seen or not _sound_columns(tree):
                    continue
                seen.add(mark)
                count += 1
                steps = (*state.steps, Step(document.name, document.summary))
                sql = tree.sql(dialect=query.dialect, pretty=True)
                feedback = yield Candidate(f"r{count}", tree, sql, self.name, steps)
                if feedback.rejected is not None:
                    continue
                rank = _rank(feedback.cost, len(steps))
                heapq.heappush(frontier, _State(rank, count, tree, steps))


def _successors(
    tree: exp.Query, rules: tuple[RuleDocument, ...], facts: Facts
) -> Iterator[tuple[RuleDocument, exp.Query]]:
    """What each rule makes of a state; the rules take turns, so that no rule's many places crowd out another's one."""
    running = [(document, _guarded(document, tree, facts)) for document in rules]
    for _ in range(PER_RULE_AND_STATE):
        still = []
        for document, results in running:
            result = next(results, None)
            if result is not None:
                yield document, result
                still.append((document, results))
        running = still


def _guarded(document: RuleDocument, tree: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """A rule's results; a rule that fails is logged and gives no more."""
    try:
        yield from code(document)(tree, facts)
    except (SqlglotError, AssertionError, LookupError, TypeError, ValueError, AttributeError, RecursionError):
        log.exception("rule %s failed and is skipped for this state", document.name)


def _fingerprint(tree: exp.Query, dialect: str) -> str:
    return tree.sql(dialect=dialect, comments=False)


def _rank(cost: float | None, steps: int) -> float:
    """Lower is expanded earlier: orders of magnitude of plan cost, with a bonus for depth so that sequences of rules
    are followed to their end."""
    return (math.log10(cost + 1.0) if cost is not None else 5.0) - STEP_DISCOUNT * steps


def _sound_columns(tree: exp.Query) -> bool:
    """Whether every qualified column names a relation in scope: a rule's slip must not reach an engine."""
    for column in tree.find_all(exp.Column):
        if not column.table:
            continue
        node: exp.Expr | None = column
        while node is not None:
            if isinstance(node, exp.Select):
                first = node.args.get("from_")
                items = [first.this] if first is not None else []
                items += [join.this for join in node.args.get("joins") or []]
                items += node.args.get("laterals") or []
                if any(item.alias_or_name == column.table for item in items):
                    break
            node = node.parent
        if node is None:
            return False
    return True
