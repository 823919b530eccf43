"""Labelled pairs: counting verdicts by label, and taking up a run that was stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rewriter.errors import UsageError
from tpc.pairs import CLAIMED, EQUIVALENT, UNLABELLED, WITNESSED, binding, judge, pair_files

SCHEMA = [{"table": "t", "columns": [{"name": "v", "type": "INTEGER", "nullable": True}], "pk": []}]
ALL, SOME = "SELECT v FROM t", "SELECT v FROM t WHERE v > 1"


def pair(name: str, q2: str, expected: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "dialect": "duckdb", "schema": SCHEMA, "q1": ALL, "q2": q2, "expected": expected, **more}


PAIRS = [
    pair("right", ALL, "equivalent"),
    pair("wrong label", SOME, "equivalent"),
    pair("seen", SOME, "not_equivalent", witnessed=True),
    pair("missed", ALL, "not_equivalent", witnessed=False),
    pair("nobody knows", SOME, "unknown"),
    pair("does not bind", "SELECT w FROM t", "equivalent", duckdb_binds_q2=False),
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "hand.jsonl"
    path.write_text("\n".join(map(json.dumps, PAIRS)) + "\n")
    return path


def test_verdicts_are_counted_by_label_and_disagreement_is_named(source: Path, tmp_path: Path) -> None:
    lines = judge(source, binding(source), tmp_path / "out.jsonl", budget=2.0, jobs=1)
    by_label = {line.label: line for line in lines}
    assert set(by_label) == {EQUIVALENT, WITNESSED, CLAIMED, UNLABELLED}
    assert dict(by_label[EQUIVALENT].verdicts) == {"proved": 1, "refuted": 1}
    assert by_label[EQUIVALENT].against == ["wrong label"]
    assert by_label[WITNESSED].against == []
    assert by_label[CLAIMED].against == ["missed"]
    assert by_label[UNLABELLED].pairs == 1


def test_verdicts_that_are_known_are_not_computed_again(source: Path, tmp_path: Path) -> None:
    results = tmp_path / "out.jsonl"
    judge(source, binding(source, 2), results, budget=2.0, jobs=1)
    before = results.read_text()
    done: list[int] = []
    judge(source, binding(source, 3), results, budget=2.0, jobs=1, told=done.append)
    assert results.read_text().startswith(before)
    assert done == [3]


def test_a_folder_without_pairs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        pair_files([tmp_path])
