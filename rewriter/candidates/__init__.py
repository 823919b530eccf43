"""Sources of candidates. See ``base`` for the contract."""

from collections.abc import Sequence

from rewriter.candidates.base import CandidateSource
from rewriter.candidates.experience import Experience, Record, packaged
from rewriter.candidates.rule_search import RuleSearch
from rules.rulefile import RuleDocument

__all__ = ["CandidateSource", "Experience", "Record", "RuleSearch", "default_sources", "packaged"]


def default_sources(
    experience: Experience | None = None, rules: Sequence[RuleDocument] = ()
) -> tuple[CandidateSource, ...]:
    """The sources used when the caller names none; ``experience`` orders what they try, ``rules`` are applied as those
    of the catalogue are."""
    return (RuleSearch(experience, rules),)
