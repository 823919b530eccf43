"""The command line with a scripted endpoint, and what is kept in the store."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rewriter.candidates.model import Demonstration
from rewriter.candidates.model.knowledge import LearntRule, Lesson
from rewriter.cli import app
from rewriter.errors import UsageError
from rewriter.llm.scripted import Line, read_script
from rewriter.modelling import endpoint_of, knowledge_of
from rewriter.settings import Settings
from rewriter.store import Store
from tests.llm.conftest import Serve
from tests.shop import SLOW

JOINED = (
    "WITH m AS (SELECT t.shop_id, :num_1 * AVG(t.amount) AS lim FROM sale t GROUP BY t.shop_id)"
    " SELECT s.id FROM sale s JOIN m ON m.shop_id = s.shop_id WHERE s.amount > m.lim"
)
GOOD = json.dumps({"analysis": "x", "rules": ["Group once."], "sql": JOINED})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REWRITER_STORE", f"sqlite:///{tmp_path / 'store.sqlite'}")
    for name in ("REWRITER_MODEL", "REWRITER_MODEL_URL", "REWRITER_MODEL_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def rewritten(*options: str, url: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["rewrite", SLOW, "--target", url, "--effort", "quick", "--json", *options])
    return done.exit_code, done.stdout, done.stderr


def test_probe_tells_and_remembers(serve: Serve, home: Path) -> None:
    server = serve(Line('{"ready": true}'), refuses=("logprobs",))
    done = CliRunner().invoke(app, ["llm", "probe", "--base-url", server.url, "--model", "scripted", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["answers"] is True
    assert found["token probabilities"] is False
    with contextlib.closing(Store(f"sqlite:///{home / 'store.sqlite'}")) as store:
        known = store.models().capabilities(server.url, "scripted")
    assert known is not None
    assert known["logprobs"] is False


def test_probe_of_nothing_is_an_error_and_no_traceback() -> None:
    done = CliRunner().invoke(app, ["llm", "probe", "--base-url", "http://127.0.0.1:9/v1", "--model", "m"])
    assert done.exit_code == 7
    assert "Traceback" not in done.output


@pytest.mark.slow
def test_rewrite_with_a_model_and_again_from_the_record(serve: Serve, shop_url: str) -> None:
    server = serve(Line('{"bottleneck": "a subquery for each row"}', "where the time goes, so that"), Line(GOOD))
    options = ("--model", "scripted", "--base-url", server.url, "--strategy", "plain,genrewrite")
    code, out, _ = rewritten(*options, url=shop_url)
    assert code == 0
    losers = {loser["candidate"]["source"] for loser in json.loads(out)["losers"]}
    chosen = json.loads(out)["chosen"]
    assert "plain" in losers | {chosen["source"]}
    asked = len(server.requests)
    assert asked
    code, _, _ = rewritten(*options[:2], "--base-url", "http://127.0.0.1:9/v1", *options[4:], url=shop_url)
    assert code == 0
    assert len(server.requests) == asked


def test_without_a_model_the_rules_work_and_it_is_said_once(shop_url: str) -> None:
    code, out, err = rewritten("--strategy", "plain", url=shop_url)
    assert code == 0
    assert json.loads(out)["chosen"]
    assert err.count("rules alone") == 1


@pytest.mark.slow
def test_a_dead_endpoint_is_said_once_and_the_rules_work(shop_url: str) -> None:
    code, out, err = rewritten(
        "--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--strategy", "plain,lithe", url=shop_url
    )
    assert code == 0
    assert json.loads(out)["chosen"]
    assert err.count("not used further") == 1


@pytest.mark.parametrize(
    "options",
    [("--strategy", "magic", "--base-url", "http://x/v1"), ("--answers", "sometimes", "--base-url", "http://x/v1"), ()],
)
def test_unusable_options_are_told(options: tuple[str, ...], shop_url: str) -> None:
    code, _, err = rewritten("--model", "m", *options, url=shop_url)
    assert code == 2
    assert "hint" in err


def test_prices_are_read() -> None:
    given = {"model": "m", "model_url": "http://x/v1", "model_prices": "2.5, 1.25, 10"}
    settings = Settings.load().model_copy(update=given)
    endpoint = endpoint_of(settings)
    assert endpoint is not None
    assert endpoint.prices.cost(1_000_000, 500_000, 100_000) == pytest.approx(1.25 + 0.625 + 1.0)
    with pytest.raises(UsageError):
        endpoint_of(settings.model_copy(update={"model_prices": "cheap"}))


def test_what_was_learnt_is_there_next_time(home: Path) -> None:
    url = f"sqlite:///{home / 'store.sqlite'}"
    with contextlib.closing(Store(url)) as store:
        knowledge = knowledge_of(store.models())
        rule = knowledge.add("Group once.", None)
        knowledge.used(rule, 0.5)
        knowledge.used(rule, None)
        knowledge.remember(Lesson("a subquery for each row", rule.group, 0.5))
        knowledge.demonstrate(Demonstration("SELECT :int_1", Counter({"a/b": 2}), ("x/y",), 3.0))
    with contextlib.closing(Store(url)) as store:
        again = knowledge_of(store.models())
    assert again.rules == [LearntRule("Group once.", 1, 2, 1, 0.5)]
    assert again.lessons == [Lesson("a subquery for each row", 1, 0.5)]
    assert again.demonstrations == [Demonstration("SELECT :int_1", Counter({"a/b": 2}), ("x/y",), 3.0)]


def test_a_days_spending_adds_up(home: Path) -> None:
    with contextlib.closing(Store(f"sqlite:///{home / 'store.sqlite'}")) as store:
        store.models().spend(100, 0.5)
        store.models().spend(11, 0.25)
        assert store.models().spent() == (111, 0.75)
        assert store.models(tenant="other").spent() == (0, 0.0)


def test_the_budget_of_the_day_holds(serve: Serve, shop_url: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWRITER_MODEL_DAY_TOKENS", "1000")
    with contextlib.closing(Store(f"sqlite:///{home / 'store.sqlite'}")) as store:
        store.models().spend(999, 0.0)
    server = serve(Line(GOOD))
    code, _, err = rewritten("--model", "m", "--base-url", server.url, "--strategy", "plain", url=shop_url)
    assert code == 0
    assert "budget" in err
    assert not server.requests


def test_scripts_are_read(tmp_path: Path) -> None:
    file = tmp_path / "script.yaml"
    file.write_text("- when: hello\n  reply: there\n- status: 429\n")
    assert [line.reply for line in read_script(file)] == ["there", ""]
    file.write_text("- sing: true\n")
    with pytest.raises(UsageError):
        read_script(file)
