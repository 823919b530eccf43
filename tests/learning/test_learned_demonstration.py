"""The strategy shows the model what the selector chooses, and the service keeps what the selector needs."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import pytest
from pydantic import SecretStr

from rewriter.candidates.base import Budget
from rewriter.candidates.model import Demonstration, Knowledge, Terms, strategies
from rewriter.candidates.model.features import WIDTH, Profile
from rewriter.candidates.model.selector import (
    PACKAGED,
    Layer,
    Learned,
    Selector,
    Structural,
    Weights,
    body_of,
    packaged,
)
from rewriter.engines import Postgres
from rewriter.errors import UsageError
from rewriter.llm import Endpoint, InMemory, Limit, Model, Purse
from rewriter.llm.scripted import Line, ScriptedServer
from rewriter.modelling import knowledge_of, model_sources
from rewriter.parse import parse
from rewriter.records import Feedback
from rewriter.settings import Settings
from rewriter.store import Store
from rules.facts import Facts
from tests.learning.toy import plan_of_kind
from tests.shop import SLOW

PICKED = json.dumps({"analysis": "x", "rules": ["subquery/scalar_aggregate_to_join"]})


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    running = ScriptedServer([Line(PICKED)])
    yield running
    running.close()


def counting(word: str) -> Learned:
    """A model that looks at nothing but how often a word occurs."""
    blind = Layer([[0.0] * WIDTH], [[0.0] * WIDTH], [0.0])
    out = [[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    return Learned([Weights((word,), (blind,), [[1.0], [0.0]], [0.0, 1.0], out, {})])


def demonstration(sql: str, shape: dict[str, int], kind: int, applies: Sequence[str] = ()) -> Demonstration:
    return Demonstration(sql, Counter(shape), ("toy/rule",), 2.0, plan_of_kind(kind, 1), tuple(applies))


def prompts(server: ScriptedServer, engine: Postgres, knowledge: Knowledge) -> list[str]:
    """What the model is told of the slow query of the shop; each of its rewrites is said to be ten times faster."""
    before = len(server.requests)
    query = parse(SLOW, engine.catalog())
    model = Model(Endpoint(server.url, "scripted"), Purse({"query": Limit(1_000_000, None)}), InMemory())
    (source,) = strategies(["llm_r2"], Terms(model), knowledge)
    original = Feedback(plan=engine.explain(SLOW), seconds=1.0)
    proposals = source.candidates(query, Facts(query.catalog), Budget(), original)
    try:
        next(proposals)
        with contextlib.suppress(StopIteration):
            while True:
                proposals.send(Feedback(seconds=0.1))
    finally:
        model.close()
    return [json.loads(raw)["messages"][-1]["content"] for raw in server.requests[before:]]


def test_the_model_is_shown_what_the_selector_chooses(shop: Postgres, server: ScriptedServer) -> None:
    """Two demonstrations: one looks like the query, to the other the same rule applies."""
    rule = "rule:subquery/scalar_aggregate_to_join"
    alike = demonstration("SELECT :looks_alike", {"Subquery/Select": 2, "Select/From": 2, "GT/Column": 1}, 0)
    helpful = demonstration("SELECT :same_rule", {"Union/Select": 5}, 1, [rule.removeprefix("rule:")])
    for selector, expected in ((Structural(), "looks_alike"), (counting(rule), "same_rule")):
        knowledge = Knowledge(demonstrations=[alike, helpful], selector=selector)
        (first, *_) = prompts(server, shop, knowledge)
        assert f"SELECT :{expected}" in first
        assert first.count("times faster") == 1
        (learnt,) = knowledge.demonstrations[2:]
        assert learnt.plan is not None
        assert rule.removeprefix("rule:") in learnt.applies
        assert not any(name in json.dumps(learnt.body["plan"]) for name in ("sale", "shop", "amount"))


def test_without_demonstrations_none_is_shown() -> None:
    for selector in (Structural(), counting("Select/From")):
        assert Knowledge(selector=selector).demonstration(Profile(Counter())) is None


OLD = {"sql": "SELECT :int_1", "shape": {"a/b": 2}, "rules": ["x/y"], "ratio": 3.0}


@pytest.mark.parametrize("selector", [Structural(), counting("b")])
def test_demonstrations_of_earlier_versions_load_and_can_be_chosen(tmp_path: Path, selector: Selector) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    newer = demonstration("SELECT :int_2", {"a/c": 2}, 0, ["x/z"])
    with contextlib.closing(Store(url)) as store:
        store.models().learn("demonstration", OLD["sql"], OLD)  # type: ignore[arg-type]
        knowledge_of(store.models()).demonstrate(newer)
    with contextlib.closing(Store(url)) as store:
        knowledge = knowledge_of(store.models())
    assert knowledge.demonstrations == [Demonstration("SELECT :int_1", Counter({"a/b": 2}), ("x/y",), 3.0), newer]
    knowledge.selector = selector
    chosen = knowledge.demonstration(Profile(Counter({"a/b": 2}), plan_of_kind(1, 1)))
    assert chosen is not None
    assert chosen.sql == "SELECT :int_1"


def test_the_package_has_a_model_and_uses_it(tmp_path: Path, server: ScriptedServer) -> None:
    store = SecretStr(f"sqlite:///{tmp_path / 'store.sqlite'}")
    given = Settings.load().model_copy(update={"model": "m", "model_url": server.url, "store": store})
    with model_sources(["llm_r2"], given, lambda reason: None) as (source,):
        assert source.knowledge.selector.templates == packaged().templates != frozenset()  # type: ignore[attr-defined]
    assert (files("rewriter.candidates.model") / PACKAGED).stat().st_size < 500_000  # type: ignore[attr-defined]


def test_the_setting_names_the_model(tmp_path: Path, server: ScriptedServer) -> None:
    file = tmp_path / "model.json"
    store = SecretStr(f"sqlite:///{tmp_path / 'store.sqlite'}")
    given = Settings.load().model_copy(
        update={"model": "m", "model_url": server.url, "store": store, "model_selector": file}
    )
    file.write_text(json.dumps(body_of([member.weights for member in counting("b").members], ())))
    with model_sources(["llm_r2"], given, lambda reason: None) as (source,):
        assert isinstance(source.knowledge.selector, Learned)  # type: ignore[attr-defined]
    file.write_text("nothing")
    with pytest.raises(UsageError), model_sources(["llm_r2"], given, lambda reason: None):
        pass
