"""What is held out is not seen, and the figures are what they are called."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriter.candidates.model.features import Profile
from rewriter.candidates.model.selector import Shown
from rewriter.errors import UsageError
from rewriter.learning.evaluating import (
    LEARNED,
    ORACLE,
    RANDOM,
    STRUCTURAL,
    Evaluation,
    Outcome,
    evaluated,
    folds_of,
    judged,
)
from rewriter.learning.pool import pool_of
from tests.learning.toy import samples


class Watching:
    """Scores everything alike and keeps what it was asked about."""

    def __init__(self) -> None:
        self.pools: list[list[Shown]] = []

    def scores(self, query: Profile, pool: Sequence[Shown]) -> list[float]:
        self.pools.append(list(pool))
        return [0.0 for _ in pool]


@given(st.lists(st.integers(0, 30).map(str), min_size=4), st.integers(2, 4), st.integers(0, 5))
def test_folds_part_the_templates(templates: list[str], count: int, seed: int) -> None:
    distinct = set(templates)
    if len(distinct) < count:
        with pytest.raises(UsageError):
            folds_of(templates, count, seed)
        return
    folds = folds_of(templates, count, seed)
    assert sorted(name for fold in folds for name in fold) == sorted(distinct)
    assert max(map(len, folds)) - min(map(len, folds)) <= 1


def test_a_query_is_never_offered_a_demonstration_of_its_own_template() -> None:
    known = samples(6)
    twins = [replace(sample, query=f"{sample.query}-again") for sample in known]
    watching = Watching()
    judged(known + twins, pool_of(known + twins), watching)
    assert len(watching.pools) == 12
    for sample, pool in zip(known + twins, watching.pools, strict=True):
        assert [entry.profile.plan for entry in pool] == 2 * [
            other.plan for other in known if other.template != sample.template
        ]


def test_the_figures_of_a_choice() -> None:
    known = samples(4)
    (first, *_) = judged(known[:1], pool_of(known), Watching())
    # Offered are queries 1 and 3 (the other kind, half as fast) and 2 (its own kind).
    good = math.log2(4.0)
    assert first.gains[ORACLE] == pytest.approx(good)
    assert first.gains[STRUCTURAL] == -1.0
    assert first.gains[RANDOM] == pytest.approx((good - 2) / 3)
    assert first.helped == {RANDOM: pytest.approx(1 / 3), STRUCTURAL: 0.0, LEARNED: 0.0, ORACLE: 1.0}
    assert first.regret(STRUCTURAL) == pytest.approx(good + 1)


def test_a_rewrite_that_failed_keeps_the_original() -> None:
    known = samples(4)
    failed = replace(known[0], ratios={})
    (outcome,) = judged([failed], pool_of(known), Watching())
    assert set(outcome.gains.values()) == {0.0}


def test_demonstrations_of_another_dialect_are_not_offered() -> None:
    known = samples(4)
    assert judged([replace(known[0], dialect="duckdb")], pool_of(known), Watching()) == []


def test_a_saved_model_is_evaluated_on_other_templates_only() -> None:
    known = samples(6)
    done = evaluated(known, Watching(), frozenset({"toy/0", "toy/1"}))
    assert {one.template for one in done.outcomes} == {"toy/2", "toy/3", "toy/4", "toy/5"}
    with pytest.raises(UsageError):
        evaluated(known, Watching(), frozenset(sample.template for sample in known))


def test_the_interval_is_over_templates() -> None:
    def outcome(template: str, value: float) -> Outcome:
        return Outcome("q", template, {ORACLE: value}, {})

    one_template = [outcome("t", value) for value in (0.0, 1.0, 2.0)]
    many = [outcome(f"t{number}", value) for number, value in enumerate((0.0, 1.0, 2.0))]
    done = Evaluation((), (), seed=0)
    narrow, wide = (done.estimate(group, lambda one: one.gains[ORACLE]) for group in (one_template, many))
    assert (narrow.low, narrow.mean, narrow.high) == (1.0, 1.0, 1.0)
    assert wide.low < wide.mean == 1.0 < wide.high
