"""Sources of candidates. See ``base`` for the contract."""

from rewriter.candidates.base import CandidateSource
from rewriter.candidates.rule_search import RuleSearch

__all__ = ["CandidateSource", "RuleSearch", "default_sources"]


def default_sources() -> tuple[CandidateSource, ...]:
    """The sources used when the caller names none."""
    return (RuleSearch(),)
