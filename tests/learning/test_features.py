"""What a selector sees of a query: finite, of fixed width, and nothing of what the query says."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from rewriter.candidates.model.features import WIDTH, Profile, nodes_of, operator_of
from rewriter.candidates.model.plan_tree import plan_body, plan_of, pruned
from rewriter.candidates.model.selector import Encoder, Layer, Learned, Structural, Weights, body_of, read_selector
from rewriter.engines import Postgres
from rewriter.errors import UsageError
from rewriter.records import Plan
from tests.learning.toy import plan_of_kind
from tests.shop import SLOW

WORDS = ("Select/From", "From", "rule:toy/decorrelate")


def weights(seed: int = 0, hidden: int = 5, wide: int = 4, size: int = 6) -> Weights:
    chance = random.Random(seed)

    def matrix(rows: int, columns: int) -> list[list[float]]:
        return [[chance.gauss(0, 1) for _ in range(columns)] for _ in range(rows)]

    return Weights(
        WORDS,
        (
            Layer(matrix(hidden, WIDTH), matrix(hidden, WIDTH), matrix(1, hidden)[0]),
            Layer(matrix(hidden, hidden), matrix(hidden, hidden), matrix(1, hidden)[0]),
        ),
        matrix(wide, len(WORDS)),
        matrix(1, wide)[0],
        matrix(size, 2 * hidden + wide),
        {"toy/decorrelate": matrix(1, size)[0]},
    )


def mirrored(plan: Plan) -> Plan:
    return replace(plan, children=tuple(mirrored(child) for child in reversed(plan.children)))


def test_the_order_of_inputs_does_not_count() -> None:
    learned, plan = Encoder(weights()), plan_of_kind(1, 3)
    one, two = (learned.vector(Profile(Counter(), tree)) for tree in (plan, mirrored(plan)))
    assert one == pytest.approx(two)


def test_the_plan_counts() -> None:
    learned = Encoder(weights())
    one, two = (learned.vector(Profile(Counter(), plan_of_kind(kind, 3))) for kind in (0, 1))
    assert one != pytest.approx(two, abs=0.01)


@pytest.mark.parametrize("wild", [None, 0.0, -5.0, math.nan, math.inf, 1e300])
def test_any_estimate_gives_a_vector_of_length_1(wild: float | None) -> None:
    inner = Plan("Strange New Operator", {}, wild, wild)
    plan = Plan("Nested Loop", {"join type": "Inner"}, wild, wild, (inner, inner))
    vector = Encoder(weights()).vector(Profile(Counter({"Select/From": 2}), plan), ("toy/decorrelate", "toy/unknown"))
    assert math.hypot(*vector) == pytest.approx(1.0)


def test_a_query_without_a_plan_has_a_vector() -> None:
    assert math.hypot(*Encoder(weights()).vector(Profile(Counter({"Select/From": 2})))) == pytest.approx(1.0)


def test_a_deep_plan_and_a_wide_one_are_bounded() -> None:
    deep = Plan("Seq Scan")
    for _ in range(30_000):
        deep = Plan("Materialize", {}, 1, 1, (deep,))
    wide = Plan("Append", {}, 1, 1, (Plan("Seq Scan"),) * 30_000)
    for plan in (deep, wide):
        nodes = nodes_of(plan)
        assert len(nodes) <= 2_001
        assert all(len(node.values) == WIDTH for node in nodes)
        assert all(at < number for number, node in enumerate(nodes) for at in node.inputs)
    assert len(json.dumps(plan_body(pruned(deep)))) < 50_000


def test_what_is_kept_of_a_plan_holds_nothing_of_the_query(shop: Postgres) -> None:
    plan = shop.explain(SLOW + " AND s.id > 4711 AND s.day < '2024-07-14'")
    kept = pruned(plan)
    text = json.dumps(plan_body(kept))
    assert not any(word in text for word in ("sale", "shop", "amount", "4711", "2024", "1.2", "("))
    assert plan_of(json.loads(text)) == kept
    assert nodes_of(kept) == nodes_of(plan)
    assert any("subplan name" in child.detail for child in kept.children)


def test_operators_of_both_engines_are_of_one_kind() -> None:
    assert operator_of("Hash Join") == operator_of("HASH_JOIN")
    assert operator_of("Aggregate") == operator_of("PERFECT_HASH_GROUP_BY")
    assert operator_of("Seq Scan") == operator_of("SEQ_SCAN")
    assert operator_of("Something Else") == "other"


class One:
    """Something to be shown."""

    profile = Profile(Counter({"a/b": 2}), plan_of_kind(0, 1))
    rules: tuple[str, ...] = ("toy/decorrelate",)


class Two(One):
    profile = Profile(Counter({"a/b": 1, "a/c": 1}), plan_of_kind(1, 1))


def test_a_saved_model_is_read_back(tmp_path: Path) -> None:
    members = [weights(0), weights(1)]
    file = tmp_path / "model.json"
    file.write_text(json.dumps(body_of(members, ["toy/1"])))
    read = read_selector(file)
    assert read.templates == {"toy/1"}
    profile = Profile(Counter({"Select/From": 2}), plan_of_kind(0, 1), ("toy/decorrelate",))
    expected = Learned(members).scores(profile, [One(), Two()])
    assert read.scores(profile, [One(), Two()]) == pytest.approx(expected, abs=1e-3)
    each = [Encoder(member).scores(profile, [One(), Two()]) for member in members]
    assert expected == pytest.approx([(one + two) / 2 for one, two in zip(*each, strict=True)])


def test_likeness_and_rules_that_apply_count_beside_the_vectors() -> None:
    plain, profile = weights(), Profile(Counter({"a/b": 2}), plan_of_kind(1, 1), ("toy/decorrelate",))
    bare = Encoder(plain).scores(profile, [One(), Two()])
    more = Encoder(replace(plain, alike=2.0, apply=0.5)).scores(profile, [One(), Two()])
    assert [one - two for one, two in zip(more, bare, strict=True)] == pytest.approx([2.5, 2 / 3 + 0.5])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 99}', "[" * 100_000])
def test_a_file_that_is_no_model_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "model.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"model\.json"):
        read_selector(file)


def test_a_model_with_a_broken_weight_is_refused(tmp_path: Path) -> None:
    whole, body = body_of([], ()), weights().body
    for broken in (
        [],
        [{**body, "words_bias": [math.nan] * 4}],
        [{**body, "layers": body["layers"][1:]}],
        [{**body, "out": [[1.0]]}],
    ):
        (tmp_path / "model.json").write_text(json.dumps({**whole, "members": broken}))
        with pytest.raises(UsageError):
            read_selector(tmp_path / "model.json")


def test_likeness_of_statements_ignores_the_plan() -> None:
    scores = Structural().scores(Profile(Counter({"a/b": 2}), plan_of_kind(1, 1)), [One(), Two()])
    assert scores == [1.0, pytest.approx(1 / 3)]
