"""Files of query pairs: every line gets a result, whatever it holds."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rewriter.batch.pairs import verify_pairs

SCHEMA: list[dict[str, Any]] = [
    {
        "table": "T",
        "columns": [
            {"name": "Id", "type": "INTEGER", "nullable": False},
            {"name": "V", "type": "INTEGER", "nullable": True},
        ],
        "pk": ["Id"],
        "fks": [],
        "unique": [],
        "checks": [],
    }
]


def line(name: str, q1: str, q2: str) -> str:
    return json.dumps({"id": name, "dialect": "duckdb", "schema": SCHEMA, "q1": q1, "q2": q2})


LINES = [
    line("same", "SELECT id FROM t WHERE v > 1", "SELECT T.ID AS other FROM T WHERE 1 < T.V"),
    line("other", "SELECT v FROM t", "SELECT DISTINCT v FROM t"),
    "this is not JSON",
    json.dumps({"id": "no schema", "q1": "SELECT 1", "q2": "SELECT 1"}),
    json.dumps(["a", "list"]),
    line("syntax", "SELECT FROM WHERE", "SELECT 1"),
    line("two", "SELECT v FROM t; DROP TABLE t", "SELECT v FROM t"),
    line("table", "SELECT v FROM missing", "SELECT v FROM t"),
    line("file", "SELECT * FROM read_csv('/etc/passwd')", "SELECT v FROM t"),
]


def test_each_line_has_one_result() -> None:
    results = list(verify_pairs(LINES, 1.0, 2))
    assert len(results) == len(LINES)
    assert all(set(r) == {"id", "verdict", "method", "seconds", "counterexample", "reason"} for r in results)
    by_id = {result["id"]: result for result in results}
    assert by_id["same"]["verdict"] == "proved"
    assert by_id["other"]["verdict"] == "refuted"
    assert "INSERT" in by_id["other"]["counterexample"]
    others = [result for name, result in by_id.items() if name not in ("same", "other")]
    assert {result["verdict"] for result in others} == {"unknown"}
    assert all(result["reason"] and result["counterexample"] is None for result in others)
    assert {3, 5} <= set(by_id)  # lines without an id are known by their number


def test_no_lines_no_results() -> None:
    assert list(verify_pairs([], 1.0, 2)) == []


def shared(name: str) -> Path:
    root = os.environ.get("REWRITER_SHARED") or str(Path(__file__).parents[3] / "shared")
    path = Path(root) / "pairs" / name
    if not path.is_file():
        pytest.skip(f"no {name}: set REWRITER_SHARED to a folder with pairs/")
    return path


def usable(name: str, count: int) -> list[dict[str, Any]]:
    pairs = [json.loads(text) for text in shared(name).read_text().splitlines()]
    return [pair for pair in pairs if pair["duckdb_binds_q1"] and pair["duckdb_binds_q2"]][:count]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "count", "least"),
    [
        ("traps_handmade.jsonl", 100, 0.9),  # one pair differs only in which of tied rows LIMIT picks
        ("literature_verieql_64.jsonl", 100, 0.8),
        ("leetcode_verieql.jsonl", 60, 0.95),
        ("spider_sqlsolver_large.jsonl", 60, 0.95),
        ("calcite_sqlsolver_232.jsonl", 40, 1.0),
    ],
)
def test_labelled_pairs(name: str, count: int, least: float) -> None:
    pairs = usable(name, count)
    labels = {pair["id"]: (pair["expected"], pair["witnessed"]) for pair in pairs}
    found = {r["id"]: r["verdict"] for r in verify_pairs(map(json.dumps, pairs), 4.0, 2)}
    wrong = Counter(found[name] for name, label in labels.items() if label == ("not_equivalent", True))
    assert wrong["refuted"] >= least * wrong.total()
    blamed = [name for name, label in labels.items() if label[0] == "equivalent" and found[name] == "refuted"]
    assert not blamed
