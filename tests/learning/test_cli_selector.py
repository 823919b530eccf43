"""The commands: samples to a model, and figures that say whether it chooses better."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rewriter.candidates.model.selector import body_of, read_selector
from rewriter.cli import app
from rewriter.errors import UsageError
from rewriter.learning.training import load_torch
from tests.learning.test_features import weights
from tests.learning.toy import samples


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["llm", "selector", *arguments])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(sample.body) + "\n" for sample in samples(8)))
    return path


@pytest.mark.slow
def test_train_and_evaluate(file: Path, tmp_path: Path) -> None:
    try:
        load_torch()
    except UsageError:
        pytest.skip("torch is not installed (extra learn); only training needs it")
    out = tmp_path / "model.json"
    code, _, told = run("train", str(file), "--out", str(out))
    assert code == 0, told
    assert told.count("mean loss") == 12  # three members, four stages each
    assert read_selector(out).templates == {sample.template for sample in samples(8)}
    code, text, _ = run("evaluate", str(file), "--folds", "2", "--json")
    assert code == 0
    held = json.loads(text)
    assert held["all"]["queries"] == 8
    assert sorted(name for fold in held["folds"] for name in fold) == sorted(f"toy/{at}" for at in range(8))
    assert held["all"]["methods"]["structural"]["log2_speedup"]["mean"] < 0
    code, _, told = run("evaluate", str(file), "--model", str(out))
    assert code == 2
    assert "trained on every template" in told


def test_a_saved_model_is_evaluated_without_torch(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    model = tmp_path / "model.json"
    model.write_text(json.dumps(body_of([weights()], ["toy/0", "toy/1"])))
    code, text, _ = run("evaluate", str(file), "--model", str(model), "--json")
    assert code == 0
    told = json.loads(text)
    assert told["all"]["queries"] == 6
    assert told["all"]["methods"]["oracle"]["helped"]["mean"] == 1.0
    assert {one["template"] for one in told["outcomes"]} == {f"toy/{at}" for at in range(2, 8)}
    code, table, _ = run("evaluate", str(file), "--model", str(model))
    assert code == 0
    assert "6 held-out queries of 6 templates" in table
    for method in ("random", "structural", "learned", "oracle"):
        assert method in table


def test_what_cannot_be_used_is_told(file: Path, tmp_path: Path) -> None:
    for arguments in (
        ("evaluate", str(tmp_path / "absent")),
        ("evaluate", str(file), "--model", str(file)),
        ("evaluate", str(file), "--folds", "99"),
    ):
        code, _, told = run(*arguments)
        assert code == 2
        assert "error" in told
        assert "Traceback" not in told
