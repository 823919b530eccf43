"""Training on samples of which the answer is known. Skipped where torch, which only training needs, is absent."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rewriter.candidates.model.selector import Learned, Structural, body_of, learned_of
from rewriter.errors import UsageError
from rewriter.learning import training
from rewriter.learning.evaluating import LEARNED, ORACLE, STRUCTURAL, cross_validated
from rewriter.learning.pool import gain, pool_of, profile_of
from rewriter.learning.samples import Sample
from rewriter.learning.training import Recipe, train
from tests.learning.toy import samples

QUICK = Recipe(hidden=8, wide=4, size=8, steps=80, rate=0.02, seen_in=2, members=1)


@pytest.fixture
def torch() -> None:
    """Torch itself warns that it has no numpy; the module that imports it keeps that quiet."""
    try:
        training.load_torch()
    except UsageError:
        pytest.skip("torch is not installed (extra learn); only training needs it")


def best(selector: Learned | Structural, sample: Sample, known: list[Sample]) -> float | None:
    pool = [entry for entry in pool_of(known) if entry.template != sample.template]
    scores = selector.scores(profile_of(sample), pool)
    return gain(sample, pool[scores.index(max(scores))])


def test_training_separates_what_helps(torch: None) -> None:
    known = samples()
    losses: list[float] = []
    learned = Learned(train(known, QUICK, lambda stage, count, loss: losses.append(loss)))
    assert len(losses) == QUICK.stages
    assert all((best(learned, sample, known) or 0) > 1 for sample in known)
    assert all((best(Structural(), sample, known) or 0) < 0 for sample in known)


def test_every_stage_takes_in_more_queries(torch: None) -> None:
    counts: list[int] = []
    train(samples(), QUICK, lambda stage, count, loss: counts.append(count))
    assert counts == [4, 8, 12, 16]


def test_templates_not_seen_in_training_are_chosen_for_rightly(torch: None) -> None:
    done = cross_validated(samples(), QUICK, folds=4)
    assert len(done.outcomes) == 16
    learned, structural, oracle = (
        sum(one.gains[method] for one in done.outcomes) for method in (LEARNED, STRUCTURAL, ORACLE)
    )
    assert structural < 0 < learned <= oracle


def test_torch_and_plain_python_agree(torch: None) -> None:
    known = samples()
    trained = training.trained(known, QUICK)
    with_torch = trained.scores().tolist()
    plain = learned_of(json.loads(json.dumps(body_of([trained.learnt()], ()))))
    pool = pool_of(known)
    for row, sample in zip(with_torch, known, strict=True):
        assert plain.scores(profile_of(sample), pool) == pytest.approx(row, abs=1e-3)


def test_the_same_seed_gives_the_same_model(torch: None) -> None:
    both = replace(QUICK, members=2)
    one, two = (body_of(train(samples(), both), ()) for _ in range(2))
    assert one == two
    assert one["members"][0] != one["members"][1]


def test_samples_that_teach_nothing_are_told(torch: None) -> None:
    with pytest.raises(UsageError, match="teach nothing"):
        train(samples(1), QUICK)


def test_torch_is_asked_for_where_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(UsageError, match="torch is not installed"):
        train(samples(), QUICK)
