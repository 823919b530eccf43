"""What samples offer to show, and what showing it is worth: its rules' measured effect on the query at hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rewriter.candidates.model.features import Profile
from rewriter.learning.samples import Rules, Sample

PAYS = 1.1  # times faster; a rewrite that gains less is no demonstration (as in the strategy)
LENGTHY = 1.05  # times that a further rule of a sequence must gain


@dataclass(frozen=True)
class Entry:
    """A demonstration: a query, and the rules that made it faster."""

    query: str
    template: str
    dialect: str
    profile: Profile
    rules: Rules


def profile_of(sample: Sample) -> Profile:
    return Profile(sample.shape, sample.plan, sample.applies)


def pool_of(samples: Sequence[Sample]) -> list[Entry]:
    """One demonstration of each query that some sequence made faster: the fastest."""
    pool = []
    for sample in samples:
        rules = max(sample.ratios, key=lambda one: (sample.ratios[one] / LENGTHY ** len(one), one), default=None)
        if rules is not None and sample.ratios[rules] > PAYS:
            pool.append(Entry(sample.query, sample.template, sample.dialect, profile_of(sample), rules))
    return pool


def gain(sample: Sample, entry: Entry) -> float | None:
    """log2 of how many times faster the entry's rules make the query; None where that was not measured."""
    ratio = sample.ratios.get(entry.rules)
    return None if ratio is None else math.log2(ratio)
