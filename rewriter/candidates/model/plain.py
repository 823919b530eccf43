"""The baseline: ask for a rewrite, with schema and plan, and correct it by errors and counterexamples."""

from __future__ import annotations

from collections.abc import Generator

from rewriter.candidates.base import Proposal
from rewriter.candidates.model.conversation import Conversation, Strategy
from rewriter.records import Feedback
from rules.facts import Facts

SAMPLES = 2


class Plain(Strategy):
    name = "plain"

    def conversed(self, talk: Conversation, facts: Facts) -> Generator[Proposal, Feedback, None]:
        for turn in range(SAMPLES):
            yield from talk.rewrite(talk.filled("rewrite", hints=()), temperature=0.0 if turn == 0 else 0.7, turn=turn)
