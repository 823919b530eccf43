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

STRATEGIES: Mapping[str, Callable[[Terms, Knowledge], CandidateSource]] = {
    "plain": lambda terms, _: Plain(terms),
    "genrewrite": GenRewrite,
    "lithe": lambda terms, _: Lithe(terms),
    "llm_r2": LlmR2,
}


def strategies(names: Sequence[str], terms: Terms, knowledge: Knowledge) -> list[CandidateSource]:
    """The sources with these names, in this order. Raises UsageError for a name that is none."""
    for name in names:
        if name not in STRATEGIES:
            raise UsageError(f"unknown strategy {name!r}", hint=f"use {', '.join(STRATEGIES)}")
    return [STRATEGIES[name](terms, knowledge) for name in dict.fromkeys(names)]


__all__ = ["STRATEGIES", "Demonstration", "Knowledge", "Terms", "strategies"]
