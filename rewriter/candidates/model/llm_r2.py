"""LLM-R2 (Z. Li et al., PVLDB 18(1), 2024): the model picks rules of the catalogue and their order, the engine of rules
applies them. One demonstration goes along: of the rewrites measured so far, the one that a selector chooses.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Generator, Iterable, Sequence

from sqlglot import exp
from sqlglot.errors import SqlglotError

from rewriter.candidates.base import Depth, Proposal
from rewriter.candidates.model.conversation import Conversation, Strategy, Terms
from rewriter.candidates.model.features import Profile
from rewriter.candidates.model.knowledge import Demonstration, Knowledge
from rewriter.candidates.model.plan_tree import pruned
from rewriter.errors import BadAnswer
from rewriter.llm.answers import read_object
from rewriter.records import Candidate, Feedback, Plan, Query, Step
from rules.discovery import code, executable
from rules.facts import Facts
from rules.rulefile import RuleDocument

log = logging.getLogger(__name__)

MOST_RULES = 8  # of one sequence
SAMPLES = 2


class LlmR2(Strategy):
    name = "llm_r2"

    def __init__(self, terms: Terms, knowledge: Knowledge) -> None:
        super().__init__(terms)
        self.knowledge = knowledge

    def conversed(self, talk: Conversation, facts: Facts) -> Generator[Proposal, Feedback, None]:
        rules = {document.name: document for document in executable(talk.query.dialect, facts.version)}
        profile = profile_of(talk.query, facts, talk.original.plan, rules.values())
        shown = self.knowledge.demonstration(profile)
        seen: set[tuple[str, ...]] = set()
        for turn in range(SAMPLES):
            filled = talk.filled("choose_rules", rules=list(rules.values()), demonstration=shown)
            reply = talk.ask(filled, temperature=0.0 if turn == 0 else 0.7, turn=turn)
            chosen = _names(reply.text, rules)
            if not chosen or chosen in seen:
                continue
            seen.add(chosen)
            feedback = yield from self._applied(talk.query, facts, [rules[name] for name in chosen], turn)
            self._learn(talk, profile, chosen, feedback)

    def _applied(
        self, query: Query, facts: Facts, documents: Sequence[RuleDocument], turn: int
    ) -> Generator[Proposal, Feedback, Feedback | None]:
        tree, steps = applied(query, facts, documents)
        if not steps:
            return None
        feedback = yield Proposal(
            Candidate(f"{self.name}{turn}", tree, steps[-1].sql, self.name, tuple(steps)), Depth.TIME
        )
        return feedback

    def _learn(self, talk: Conversation, profile: Profile, rules: tuple[str, ...], feedback: Feedback | None) -> None:
        before = talk.slow
        if feedback is None or feedback.rejected is not None or not feedback.seconds or before is None:
            return
        ratio = before / feedback.seconds
        if ratio > 1.1:
            sql = talk.variables["sql"]
            self.knowledge.demonstrate(
                Demonstration(sql, profile.shape, rules, round(ratio, 1), profile.plan, profile.applies)
            )


def applied(query: Query, facts: Facts, documents: Sequence[RuleDocument]) -> tuple[exp.Query, list[Step]]:
    """Each rule once, at the first place where it applies, in the order given; what does not apply is left out."""
    tree: exp.Query = query.tree
    steps: list[Step] = []
    for document in documents:
        made = first(document, tree, facts)
        if made is not None:
            tree = made
            steps.append(Step(document.name, document.summary, tree.sql(dialect=query.dialect, pretty=True)))
    return tree, steps


def shape_of(tree: exp.Expr) -> Counter[str]:
    """The kinds of nodes with those above them, counted: what the tree looks like, whatever its names are."""
    return Counter(
        f"{type(node.parent).__name__}/{type(node).__name__}"
        for node in tree.walk()
        if not isinstance(node, (exp.Identifier, exp.Literal, exp.TableAlias))
    )


def profile_of(query: Query, facts: Facts, plan: Plan | None, rules: Iterable[RuleDocument]) -> Profile:
    """The query as a selector sees it; ``rules`` are those that may apply."""
    applies = tuple(document.name for document in rules if first(document, query.tree, facts) is not None)
    return Profile(shape_of(query.tree), pruned(plan) if plan is not None else None, applies)


def _names(text: str, rules: dict[str, RuleDocument]) -> tuple[str, ...]:
    """The rules that an answer names, unknown ones left out."""
    try:
        listed = (read_object(text) or {}).get("rules")
    except BadAnswer:
        return ()
    if not isinstance(listed, list):
        return ()
    return tuple(name for name in listed if isinstance(name, str) and name in rules)[:MOST_RULES]


def first(document: RuleDocument, tree: exp.Query, facts: Facts) -> exp.Query | None:
    """What a rule makes of a tree at the first place where it applies; None where it does not."""
    try:
        return next(iter(code(document)(tree, facts)), None)
    except (SqlglotError, AssertionError, LookupError, TypeError, ValueError, AttributeError, RecursionError):
        log.exception("rule %s failed and is skipped", document.name)
        return None
