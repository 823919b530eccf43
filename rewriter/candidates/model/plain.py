"""The baseline: ask for a rewrite, with schema and plan, and correct it by errors and counterexamples."""

from __future__ import annotations

from collections.abc import Generator

from rewriter.candidates.base import Budget, Proposal
from rewriter.candidates.model.conversation import Conversation, Terms
from rewriter.errors import ModelError
from rewriter.records import Feedback, Query
from rules.facts import Facts

SAMPLES = 2


class Plain:
    name = "plain"

    def __init__(self, terms: Terms) -> None:
        self.terms = terms

    def candidates(
        self, query: Query, facts: Facts, budget: Budget, original: Feedback
    ) -> Generator[Proposal, Feedback, None]:
        talk = Conversation(self.terms, self.name, query, original)
        try:
            for turn in range(SAMPLES):
                yield from talk.rewrite(
                    talk.filled("rewrite", hints=()), temperature=0.0 if turn == 0 else 0.7, turn=turn
                )
        except ModelError as error:
            self.terms.fell_silent(error)
