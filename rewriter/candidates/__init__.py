"""Sources of candidates. See ``base`` for the contract."""

from collections.abc import Collection, Sequence

from rewriter.candidates.base import CandidateSource
from rewriter.candidates.experience import Experience, Record, packaged
from rewriter.candidates.rule_search import RuleSearch
from rules.rulefile import RuleDocument

__all__ = ["CandidateSource", "Experience", "Record", "RuleSearch", "default_sources", "packaged"]


def default_sources(
    experience: Experience | None = None, rules: Sequence[RuleDocument] = (), without: Collection[str] = ()
) -> tuple[CandidateSource, ...]:
    """The sources used when the caller names none; ``experience`` orders what they try, ``rules`` are applied as those
    of the catalogue are, ``without`` names rules that are not to be used."""
    return (RuleSearch(experience, rules, without),)
