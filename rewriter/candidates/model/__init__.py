"""Strategies that ask a language model, each a candidate source: as three published systems do, and plainly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rewriter.candidates.base import CandidateSource
from rewriter.candidates.model.conversation import Terms
from rewriter.candidates.model.genrewrite import GenRewrite
from rewriter.candidates.model.knowledge import Demonstration, Knowledge
from rewriter.candidates.model.lithe import Lithe
from rewriter.candidates.model.llm_r2 import LlmR2
from rewriter.candidates.model.plain import Plain
from rewriter.errors import UsageError

# Cheapest first: two answers that only name rules; a few whole rewrites; an analysis and its corrections; a search.
STRATEGIES: Mapping[str, Callable[[Terms, Knowledge], CandidateSource]] = {
    "llm_r2": LlmR2,
    "plain": lambda terms, _: Plain(terms),
    "genrewrite": GenRewrite,
    "lithe": lambda terms, _: Lithe(terms),
}


def strategies(names: Sequence[str], terms: Terms, knowledge: Knowledge) -> list[CandidateSource]:
    """The sources with these names, the cheapest first: one that finds enough spares the dearer ones, when the time the
    query costs no longer pays for their search. Raises UsageError for a name that is none."""
    for name in names:
        if name not in STRATEGIES:
            raise UsageError(f"unknown strategy {name!r}", hint=f"use {', '.join(STRATEGIES)}")
    return [make(terms, knowledge) for name, make in STRATEGIES.items() if name in names]


__all__ = ["STRATEGIES", "Demonstration", "Knowledge", "Terms", "strategies"]
