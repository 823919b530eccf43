"""Sources of candidates. See ``base`` for the contract."""

from collections.abc import Collection

from rewriter.candidates.base import CandidateSource
from rewriter.candidates.experience import Experience, Record, packaged
from rewriter.candidates.rule_search import RuleSearch

__all__ = ["CandidateSource", "Experience", "Record", "RuleSearch", "default_sources", "packaged"]


def default_sources(experience: Experience | None = None, without: Collection[str] = ()) -> tuple[CandidateSource, ...]:
    """The sources used when the caller names none; ``experience`` orders what they try, ``without`` names rules that
    are not to be used."""
    return (RuleSearch(experience, without),)
