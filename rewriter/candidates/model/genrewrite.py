"""GenRewrite (J. Liu and B. Mozafari, 2024): rules in words that are learnt from one query and offered to the next.

Suggest: the model puts the bottleneck of the plan into words; earlier queries with similar words are offered to it as a
multiple choice, "none" included; only a match brings its rule along as a hint. Correct: a rewrite that an engine
refuses or that our verifier refutes goes back with the error or the counterexample. Attribute: of the rules that a
winner names, the one whose rewrite alone has the winner's plan gets the credit. Group: a rule that says what a known
one says joins it.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from difflib import SequenceMatcher

from rewriter.candidates.base import Depth, Proposal
from rewriter.candidates.model.conversation import Conversation, Outcome, Strategy, Terms
from rewriter.candidates.model.knowledge import Knowledge, LearntRule, Lesson
from rewriter.errors import BadAnswer
from rewriter.llm.answers import read_object
from rewriter.llm.client import Reply
from rewriter.records import Feedback, Plan
from rules.facts import Facts

SAMPLES = 4  # candidates for one query, as published
OFFERED = 5  # earlier bottlenecks among which the model chooses
NEAR = 3  # known rules that a new one is compared with, as published
HINTS = 3
CLEAR = 0.04  # orders of magnitude of time: less is noise
SAME_COST = 1e-3  # relative: plans whose costs differ less are taken for the same


class GenRewrite(Strategy):
    name = "genrewrite"

    def __init__(self, terms: Terms, knowledge: Knowledge) -> None:
        super().__init__(terms)
        self.knowledge = knowledge

    def conversed(self, talk: Conversation, facts: Facts) -> Generator[Proposal, Feedback, None]:
        bottleneck = self._bottleneck(talk)
        hints = self._hints(talk, bottleneck)
        best: Outcome | None = None
        for turn in range(SAMPLES):
            found = yield from talk.rewrite(
                talk.filled("rewrite", hints=hints), temperature=0.0 if turn == 0 else 0.7, turn=turn
            )
            if found is not None and (best is None or _seconds(found.feedback) < _seconds(best.feedback)):
                best = found
        gained = _gain(talk.slow, best.feedback) if best is not None else None
        if best is not None and best.rules and gained is not None:
            yield from self._learn(talk, bottleneck, best, gained)

    def _bottleneck(self, talk: Conversation) -> str:
        said = _object(talk.ask(talk.filled("bottleneck"))).get("bottleneck")
        return " ".join(said.split())[:600] if isinstance(said, str) else ""

    def _hints(self, talk: Conversation, bottleneck: str) -> Sequence[str]:
        """The rules that removed the same bottleneck before; none when the model sees none."""
        offered = self.knowledge.similar(bottleneck, OFFERED)
        if not offered:
            return ()
        filled = talk.filled("similar", bottleneck=bottleneck, earlier=[lesson.bottleneck for lesson in offered])
        at = _choice(talk.ask(filled), len(offered))
        if at is None:
            return ()
        chosen = [offered[at], *(one for one in offered if one.bottleneck == offered[at].bottleneck)]
        ranked = sorted(chosen, key=lambda lesson: -lesson.gained)
        return tuple(dict.fromkeys(self.knowledge.best(lesson.group).text for lesson in ranked))[:HINTS]

    def _learn(
        self, talk: Conversation, bottleneck: str, best: Outcome, gained: float
    ) -> Generator[Proposal, Feedback, None]:
        """Put the rules of the best rewrite into the repository, the credit on the one that mattered."""
        rules = [self._placed(talk, text) for text in best.rules]
        known = {rule.group for rule in rules if rule.wins}
        dominant = rules[0]
        if len(rules) > 1:
            # Rules of a group that has won before need no new trial.
            dominant = next((rule for rule in rules if rule.group in known), None) or (
                yield from self._dominant(talk, rules, best)
            )
        won = gained > CLEAR
        for rule in rules:
            self.knowledge.used(rule, gained if won and rule is dominant else None)
        if won and bottleneck:
            self.knowledge.remember(Lesson(bottleneck, dominant.group, gained))

    def _placed(self, talk: Conversation, text: str) -> LearntRule:
        """The rule, in the group of the known rule that says the same."""
        near = self.knowledge.near(text, NEAR)
        if not near or any(rule.text == text for rule in near):
            return self.knowledge.add(text, next((rule.group for rule in near if rule.text == text), None))
        at = _choice(talk.ask(talk.filled("same_rule", rule=text, known=[rule.text for rule in near])), len(near))
        return self.knowledge.add(text, near[at].group if at is not None else None)

    def _dominant(
        self, talk: Conversation, rules: Sequence[LearntRule], best: Outcome
    ) -> Generator[Proposal, Feedback, LearntRule]:
        """The rule that alone, as the only hint, gives the winner's plan; else the one whose plan is most like it."""
        scored: list[tuple[float, LearntRule]] = []
        for rule in rules:
            found = yield from talk.rewrite(talk.filled("rewrite", hints=(rule.text,)), depth=Depth.PLAN, patience=1)
            plan = found.feedback.plan if found is not None else None
            if plan is not None and best.feedback.plan is not None:
                if _same_cost(plan, best.feedback.plan):
                    return rule
                scored.append((_likeness(plan, best.feedback.plan), rule))
        return max(scored, key=lambda pair: pair[0])[1] if scored else rules[0]


def _object(reply: Reply) -> dict[str, object]:
    try:
        return read_object(reply.text) or {}
    except BadAnswer:
        return {}


def _choice(reply: Reply, offered: int) -> int | None:
    """The position chosen, counted from 0; None for none."""
    number = _object(reply).get("choice")
    return number - 1 if isinstance(number, int) and 1 <= number <= offered else None


def _seconds(feedback: Feedback) -> float:
    return feedback.seconds if feedback.seconds is not None else math.inf


def _gain(before: float | None, rewritten: Feedback) -> float | None:
    """Orders of magnitude of time saved, by measurement; None where nothing was measured."""
    if before is None or rewritten.seconds is None:
        return None
    return math.log10(max(before, 1e-4) / max(rewritten.seconds, 1e-4))


def _same_cost(one: Plan, two: Plan) -> bool:
    return one.cost is not None and two.cost is not None and math.isclose(one.cost, two.cost, rel_tol=SAME_COST)


def _likeness(one: Plan, two: Plan) -> float:
    """0 to 1: how alike two plans read, operator by operator."""
    return SequenceMatcher(None, _operators(one), _operators(two)).ratio()


def _operators(plan: Plan) -> list[str]:
    own = f"{plan.operator} {plan.detail.get('relation name', '')}"
    return [own, *(name for child in plan.children for name in _operators(child))]
