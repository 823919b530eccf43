"""``rewriter rules`` over the store: drafts, their statuses, and learning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rewriter.cli import app
from rules.discovery import discover

(SOUND,) = [document for document in discover() if document.name == "predicate/equal_to_itself"]


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWRITER_STORE", f"sqlite:///{tmp_path / 'store.sqlite'}")
    monkeypatch.delenv("REWRITER_TARGET", raising=False)


def run(*words: object, code: int = 0) -> Result:
    done = CliRunner().invoke(app, ["rules", *map(str, words)])
    assert done.exit_code == code, done.output
    return done


def listed(*words: str) -> list[dict[str, object]]:
    rules: list[dict[str, object]] = json.loads(run("list", *words, "--json").stdout)
    return rules


def test_a_document_goes_from_draft_to_rejected(tmp_path: Path) -> None:
    file = tmp_path / "mine.md"
    file.write_text(SOUND.text, encoding="utf-8")
    run("add", file)
    run("add", file, code=2)
    assert [it["status"] for it in listed("--origin", "user")] == ["draft"]
    assert "## Pattern" in run("show", "own/mine").stdout
    run("retire", "own/mine")
    run("reject", "own/mine", "--reason", "not here")
    (rule,) = listed("--status", "rejected")
    assert (rule["name"], rule["reason"]) == ("own/mine", "not here")
    assert listed("--search", "compare with itself")[0]["name"] in ("own/mine", SOUND.name)
    assert len(listed("--all")) == len(discover()) + 1
    assert len(json.loads(run("list", "--json").stdout)) == len(discover())


def test_mistakes_are_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken.md"
    broken.write_text(SOUND.text.replace("- in a filter", "- in a dream"), encoding="utf-8")
    assert "broken.md:" in run("add", broken, code=2).output
    run("add", tmp_path / "missing.md", code=2)
    run("approve", "own/missing", code=2)
    run("retire", SOUND.name, code=2)
    run("list", "--origin", "nowhere", code=2)
    run("learn", code=2)  # no target
    run("learn", "--pairs", tmp_path / "missing.jsonl", code=2)


def test_learning_tells_why_there_is_no_rule(tmp_path: Path) -> None:
    schema = "CREATE TABLE t (id int PRIMARY KEY, a int);"
    pairs = [
        {"before": "SELECT t.a FROM t WHERE t.id > 1", "after": "SELECT u.a FROM t u WHERE u.id > 1", "schema": schema},
        {"before": "SELECT t.a FROM t", "after": "SELECT t.b FROM t", "schema": schema},
        {"before": "SELECT t.a FROM t WHERE t.a > 0", "after": "SELECT t.a FROM t", "schema": schema},
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    outcomes = json.loads(run("learn", "--pairs", file, "--json").stdout)
    assert {it["refused"] for it in outcomes} == {"nothing_gained", "unreadable", "not_equivalent"}
    assert all(it["rule"] is None and it["detail"] for it in outcomes)
    assert not listed("--origin", "distilled")
