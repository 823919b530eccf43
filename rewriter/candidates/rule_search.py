"""Best-first search over sequences of executable rules, steered by measured time.

A state is a query; its successors are what every rule makes of it at every place. Equal states (up to formatting) are
visited once, and a state with the very plan of another one is not run again. Two kinds of work share one queue: trying
a successor (screen it, run it once) and expanding a state (apply every rule to it). A successor that turned out
faster is expanded before its remaining siblings are tried, because most steps commute: the siblings' rules get their
turn on it. Which rules paid, on this query and on earlier ones, orders what is tried first; plan cost only nudges,
because it misjudges half of the real winners.
"""

from __future__ import annotations

import heapq
import logging
import math
import time
from collections import Counter
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from sqlglot import exp
from sqlglot.errors import SqlglotError

from rewriter.candidates.base import Budget, Depth, Proposal
from rewriter.candidates.experience import CLEAR, Experience, shape_of
from rewriter.records import Candidate, Feedback, Plan, Query, Step
from rules.discovery import code, executable
from rules.facts import Facts
from rules.rulefile import RuleDocument

log = logging.getLogger(__name__)

MAX_STEPS = 8
PATIENCE = 0.25  # share of the budget's trials that may pass without a new best; then nothing better is expected
LEAST_PATIENCE = 12  # trials
PER_RULE_AND_STATE = 8  # successors that one rule may give one state
HOPELESS = 1e4  # times the original's plan cost; real winners have been priced at 25 times it
# All of the following are orders of magnitude of time.
COST_WEIGHT, COST_RANGE = 0.15, 0.4  # how much a cost ratio counts, and how far at most
TURN = 0.12  # what each further result of the same rule on the same state is put back by
EXPANSION = 0.05  # what expanding a state is put back by, against trying a successor of as fast a state
SAME_PLAN = 0.3  # what a state is put back by whose plan is that of its parent


@dataclass
class _State:
    """A query on the way. ``value`` is log10 of its seconds, or of its plan cost where nothing can be run."""

    tree: exp.Query
    steps: tuple[Step, ...]
    value: float
    cost: float | None
    candidate: Candidate | None = None


@dataclass(order=True)
class _Task:
    """To expand ``state``, or to try it when it has not been tried."""

    priority: float
    number: int
    state: _State = field(compare=False)
    parent: _State | None = field(compare=False, default=None)  # given: to be tried


class RuleSearch:
    """Candidates from the executable rules of the catalogue, and from ``rules`` of other origin. ``experience`` orders
    them by what paid before, ``without`` names rules that are not to be used."""

    name = "rules"

    def __init__(
        self,
        experience: Experience | None = None,
        rules: Sequence[RuleDocument] = (),
        without: Collection[str] = (),
    ) -> None:
        self.experience = experience or Experience()
        self.rules = tuple(rules)
        self.without = frozenset(without)

    def candidates(
        self, query: Query, facts: Facts, budget: Budget, original: Feedback
    ) -> Generator[Proposal, Feedback, None]:
        own = (it for it in self.rules if it.executable and it.pays_on(query.dialect, facts.version))
        known = (*executable(query.dialect, facts.version), *own)
        rules = tuple(rule for rule in known if rule.name not in self.without)
        yield from _Search(query, facts, budget, self.experience, rules).run(original)


class _Search:
    def __init__(
        self, query: Query, facts: Facts, budget: Budget, experience: Experience, rules: tuple[RuleDocument, ...]
    ) -> None:
        self.query = query
        self.facts = facts
        self.budget = budget
        self.experience = experience
        self.deadline = time.monotonic() + budget.seconds
        self.rules = rules
        self.queue: list[_Task] = []
        self.seen = {_fingerprint(query.tree, query.dialect)}
        self.plans: set[str] = set()
        self.paid: dict[str, float] = {}  # by rule: what it did to the time of this query, when last tried
        self.promised: dict[str, float] = {}
        self.shape = shape_of(query.tree)
        self.count = self.tried = self.asked = 0
        self.best = math.inf
        self.idle = 0  # trials since the best was found

    def run(self, original: Feedback) -> Generator[Proposal, Feedback, None]:
        if original.plan is not None:
            self.plans.add(_shape(original.plan))
        self.best = _value(original, 0.0)
        self._push(_State(self.query.tree, (), self.best, original.cost), EXPANSION)
        while self.queue and self._affordable():
            task = heapq.heappop(self.queue)
            if task.parent is not None:
                yield from self._try(task.state, task.parent)
            elif len(task.state.steps) < MAX_STEPS:
                yield from self._expand(task.state)

    def _affordable(self) -> bool:
        return (
            self.tried < self.budget.candidates
            and self.idle < max(LEAST_PATIENCE, PATIENCE * self.budget.candidates)
            and self.asked < self.budget.plans
            and time.monotonic() < self.deadline
        )

    def _push(self, state: _State, later: float, parent: _State | None = None) -> None:
        self.count += 1
        heapq.heappush(self.queue, _Task(state.value + later, self.count, state, parent))

    def _expand(self, state: _State) -> Generator[Proposal, Feedback, None]:
        """Ask for the plan of every successor, and queue each for its trial."""
        turns: dict[str, int] = {}
        for document, trees in self._successors(state):
            if not self._affordable():
                return
            tree = trees[-1]
            mark = _fingerprint(tree, self.query.dialect)
            if mark in self.seen or not _sound_columns(tree):
                continue
            self.seen.add(mark)
            self.asked += 1
            texts = [made.sql(dialect=self.query.dialect, pretty=True) for made in trees]
            steps = (*state.steps, *(Step(document.name, document.summary, text) for text in texts))
            candidate = Candidate(f"r{self.asked}", tree, texts[-1], RuleSearch.name, steps)
            feedback = yield Proposal(candidate, Depth.PLAN)
            if feedback.rejected is not None:
                continue
            successor = _State(tree, steps, state.value, feedback.cost, candidate)
            ratio = feedback.cost / state.cost if feedback.cost and state.cost else 1.0
            if ratio > HOPELESS:
                continue
            shape = _shape(feedback.plan) if feedback.plan is not None else mark
            if shape in self.plans:
                self._push(successor, SAME_PLAN)
                continue
            self.plans.add(shape)
            turn = 0
            if len(trees) == 1:
                turn = turns[document.name] = turns.get(document.name, -1) + 1
            cost = max(-COST_RANGE, min(COST_RANGE, COST_WEIGHT * math.log10(ratio)))
            self._push(successor, cost + TURN * turn - self._promise(document.name), parent=state)

    def _promise(self, rule: str) -> float:
        """The orders of magnitude of time that a rule is expected to save."""
        known = self.paid.get(rule)
        if known is not None:
            return known
        if rule not in self.promised:
            self.promised[rule] = self.experience.promise(rule, self.query.dialect, self.shape)
        return self.promised[rule]

    def _try(self, state: _State, parent: _State) -> Generator[Proposal, Feedback, None]:
        assert state.candidate is not None
        self.tried += 1
        feedback = yield Proposal(state.candidate, Depth.TIME)
        if feedback.rejected is not None:
            return
        state.value = _value(feedback, parent.value)
        better = state.value < self.best - CLEAR
        self.best = min(self.best, state.value)
        self.idle = 0 if better else self.idle + 1
        rule = state.steps[-1].rule
        gain = parent.value - state.value
        if feedback.seconds is not None:
            self.experience.learn(rule, self.query.dialect, self.shape, gain)
        # A rule may pay at one place of the query and not at another.
        self.paid[rule] = max(gain, (self.paid.get(rule, gain) + gain) / 2)
        self._push(state, EXPANSION)

    def _successors(self, state: _State) -> Iterator[tuple[RuleDocument, list[exp.Query]]]:
        """What each rule makes of a state, step by step (mostly one); the rules take turns, so that no rule's many
        places crowd out another's. Of a state that nothing has beaten, also what a rule makes of it when it is applied
        to several SELECTs: where each of three branches costs a third, no single one of them shows a gain."""
        running = [(document, _guarded(document, state.tree, self.facts)) for document in self.rules]
        firsts: dict[str, exp.Query] = {}
        for turn in range(PER_RULE_AND_STATE):
            still = []
            for document, results in running:
                result = next(results, None)
                if result is None:
                    continue
                yield document, [result]
                still.append((document, results))
                if turn == 0:
                    firsts[document.name] = result
                elif turn == 1 and state.value <= self.best:
                    trees = self._everywhere(document, state.tree, firsts[document.name])
                    if len(trees) > 1 and len(state.steps) + len(trees) <= MAX_STEPS:
                        yield document, trees
            running = still

    def _everywhere(self, document: RuleDocument, tree: exp.Query, first: exp.Query) -> list[exp.Query]:
        """``first``, which the rule made of ``tree``, and what it makes of that at one SELECT of ``tree`` after the
        other that it has not changed yet."""
        untouched = _own_texts(tree)
        trees = [tree]
        after: exp.Query | None = first
        while after is not None and len(trees) <= MAX_STEPS:
            untouched &= _own_texts(after)
            trees.append(after)
            current, after = after, None
            before = _own_texts(current)
            for result in islice(_guarded(document, current, self.facts), PER_RULE_AND_STATE):
                changed = before - _own_texts(result)
                if changed and changed <= untouched:
                    after = result
                    break
        return trees[1:]


def _own_texts(tree: exp.Query) -> Counter[str]:
    """Every SELECT of a query as text, without the queries nested in it."""
    texts: Counter[str] = Counter()
    for select in tree.find_all(exp.Select):
        copy = select.copy()
        copy.set("with_", None)
        for nested in list(copy.find_all(exp.Query)):
            if nested is not copy and nested.find_ancestor(exp.Query) is copy:
                nested.replace(exp.Null())
        texts[copy.sql(comments=False)] += 1
    return texts


def _value(feedback: Feedback, otherwise: float) -> float:
    """log10 of the seconds measured; a run that was stopped counts a little more than its limit; without a run, of the
    plan cost."""
    if feedback.seconds is not None:
        return math.log10(max(feedback.seconds, 1e-4))
    if feedback.stopped_after is not None:
        return math.log10(feedback.stopped_after) + 0.2
    return math.log10(feedback.cost + 1.0) if feedback.cost is not None else otherwise


def _guarded(document: RuleDocument, tree: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """A rule's results; a rule that fails is logged and gives no more."""
    try:
        yield from code(document)(tree, facts)
    except (SqlglotError, AssertionError, LookupError, TypeError, ValueError, AttributeError, RecursionError):
        log.exception("rule %s failed and is skipped for this state", document.name)


def _fingerprint(tree: exp.Query, dialect: str) -> str:
    return tree.sql(dialect=dialect, comments=False)


def _shape(plan: Plan) -> str:
    """The whole plan as text, estimates included: equal texts mean that the engine does the same work."""
    return repr(plan)


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
