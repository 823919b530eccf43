"""Does a selector choose better than chance and structural likeness, on queries whose templates it has not seen?

What is measured is the demonstration itself: its rules applied to the query at hand, timed by the engine. How a model
takes a demonstration is another question, which needs a model.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from rewriter.candidates.model.selector import Learned, Selector, Structural
from rewriter.errors import UsageError
from rewriter.learning.pool import Entry, gain, pool_of, profile_of
from rewriter.learning.samples import Sample
from rewriter.learning.training import Recipe, train

HELPED = math.log2(1.2)  # a query counts as helped from 1.2 times faster
DRAWS = 4_000  # of the bootstrap

RANDOM, STRUCTURAL, LEARNED, ORACLE = "random", "structural", "learned", "oracle"
METHODS = (RANDOM, STRUCTURAL, LEARNED, ORACLE)


@dataclass(frozen=True)
class Outcome:
    """One held-out query. By method: ``gains`` in log2 of times faster, ``helped`` 0 to 1 (by chance: the share of the
    pool)."""

    query: str
    template: str
    gains: Mapping[str, float]
    helped: Mapping[str, float]

    def regret(self, method: str) -> float:
        """log2 of how many times faster than with this method the best demonstration makes it."""
        return self.gains[ORACLE] - self.gains[method]


Outcomes = Sequence[Outcome]


@dataclass(frozen=True)
class Estimate:
    """A mean over queries and its 95 percent interval, by bootstrap over templates (queries of one are not
    independent)."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """``outcomes`` of all held-out queries; ``folds``: by fold, the templates held out."""

    outcomes: tuple[Outcome, ...]
    folds: tuple[frozenset[str], ...]
    seed: int

    @property
    def improvable(self) -> tuple[Outcome, ...]:
        """The queries that some demonstration of the pool helps: only there can a choice be right or wrong."""
        return tuple(one for one in self.outcomes if one.gains[ORACLE] >= HELPED)

    def estimate(self, outcomes: Outcomes, value: Callable[[Outcome], float]) -> Estimate:
        """The mean of a value over some of the outcomes."""
        groups: dict[str, list[float]] = {}
        for one in outcomes:
            groups.setdefault(one.template, []).append(value(one))
        return _estimate(list(groups.values()), self.seed)


def folds_of(templates: Sequence[str], count: int, seed: int) -> list[frozenset[str]]:
    """The templates dealt into ``count`` parts. Raises UsageError when there are fewer templates than parts."""
    distinct = sorted(set(templates))
    if not 2 <= count <= len(distinct):
        raise UsageError(f"{len(distinct)} templates cannot be dealt into {count} folds", hint="choose --folds")
    random.Random(seed).shuffle(distinct)  # noqa: S311
    return [frozenset(distinct[start::count]) for start in range(count)]


def cross_validated(
    samples: Sequence[Sample],
    recipe: Recipe | None = None,
    *,
    folds: int = 10,
    told: Callable[[int, int], None] = lambda *_: None,
) -> Evaluation:
    """Train without each fold's templates in turn and choose for its queries from the others' demonstrations."""
    recipe = recipe or Recipe()
    parts = folds_of([sample.template for sample in samples], folds, recipe.seed)
    outcomes: list[Outcome] = []
    for number, held in enumerate(parts):
        told(number, len(parts))
        known = [sample for sample in samples if sample.template not in held]
        selector = Learned(train(known, recipe))
        outcomes += judged([sample for sample in samples if sample.template in held], pool_of(known), selector)
    return Evaluation(tuple(outcomes), tuple(parts), recipe.seed)


def evaluated(samples: Sequence[Sample], selector: Selector, trained_on: frozenset[str], seed: int = 0) -> Evaluation:
    """A trained model on the samples of templates that it has not seen. Raises UsageError when there are none."""
    held = [sample for sample in samples if sample.template not in trained_on]
    if not held:
        raise UsageError("the model was trained on every template of these samples", hint="leave out --model")
    pool = pool_of(samples)
    outcomes = [one for sample in held for one in judged([sample], pool, selector)]
    return Evaluation(tuple(outcomes), (frozenset(sample.template for sample in held),), seed)


def judged(samples: Sequence[Sample], pool: Sequence[Entry], selector: Selector) -> list[Outcome]:
    """What each way of choosing is worth to each query. Demonstrations of its own template are not offered."""
    outcomes = []
    for sample in samples:
        offered = [one for one in pool if one.dialect == sample.dialect and one.template != sample.template]
        if not offered:
            continue
        # A form that fails or returns other rows is thrown out by the pipeline, which then keeps the original.
        gains = [gain(sample, one) or 0.0 for one in offered]
        profile = profile_of(sample)
        chosen = {
            STRUCTURAL: gains[_best(Structural().scores(profile, offered))],
            LEARNED: gains[_best(selector.scores(profile, offered))],
            ORACLE: max(gains),
        }
        outcomes.append(
            Outcome(
                sample.query,
                sample.template,
                {RANDOM: fmean(gains), **chosen},
                {
                    RANDOM: fmean(float(value >= HELPED) for value in gains),
                    **{method: float(value >= HELPED) for method, value in chosen.items()},
                },
            )
        )
    return outcomes


def _best(scores: Sequence[float]) -> int:
    return max(range(len(scores)), key=scores.__getitem__)


def _estimate(groups: Sequence[Sequence[float]], seed: int) -> Estimate:
    if not groups:
        return Estimate(math.nan, math.nan, math.nan)
    sums = [(sum(group), len(group)) for group in groups]
    draw = partial(random.Random(seed).choices, sums, k=len(sums))  # noqa: S311
    means = []
    for _ in range(DRAWS):
        drawn = draw()
        means.append(sum(total for total, _ in drawn) / sum(count for _, count in drawn))
    means.sort()
    mean = sum(total for total, _ in sums) / sum(count for _, count in sums)
    return Estimate(mean, means[int(DRAWS * 0.025)], means[int(DRAWS * 0.975)])
