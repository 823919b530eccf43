"""Hammering proofs, and judging mutants, on a small schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rewriter.engines import scratch
from tpc import hammer
from tpc.__main__ import app

SCHEMA = [
    {
        "table": "t",
        "columns": [
            {"name": "id", "type": "INTEGER", "nullable": False},
            {"name": "v", "type": "INTEGER", "nullable": True},
        ],
        "pk": ["id"],
        "fks": [],
        "unique": [],
        "checks": [],
    }
]
PAIRS = [
    {"id": "equal", "schema": SCHEMA, "q1": "SELECT id FROM t WHERE v > 1", "q2": "SELECT id FROM t WHERE 1 < v"},
    {"id": "other", "schema": SCHEMA, "q1": "SELECT v FROM t", "q2": "SELECT DISTINCT v FROM t"},
    {"id": "unreadable", "schema": SCHEMA, "q1": "SELECT FROM", "q2": "FROM WHERE"},
]  # fmt: skip


def test_only_what_is_proved_is_hammered() -> None:
    engine = scratch()
    try:
        blows = hammer.hammer(hammer.pairs(PAIRS), engine, databases=100, seed=0)
    finally:
        engine.close()
    assert blows.attempts == 2
    assert blows.proofs.total() == 1
    assert blows.databases >= 100
    assert not blows.contradicted


def test_a_contradicted_proof_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hammer, "proof", lambda *_: hammer.Proof(True, "believed"))
    engine = scratch()
    try:
        blows = hammer.hammer(hammer.pairs(PAIRS), engine, databases=100, seed=0)
    finally:
        engine.close()
    assert blows.proofs.total() == 2
    assert len(blows.contradicted) == 1
    assert blows.contradicted[0].startswith("other")
    assert "INSERT" in blows.contradicted[0]


def test_each_query_is_held_against_its_mutants_once() -> None:
    work = list(hammer.near_misses([*PAIRS, *PAIRS], seed=0))
    assert [query.text for _, query, _ in work] == [PAIRS[0]["q1"], PAIRS[0]["q2"], PAIRS[1]["q1"], PAIRS[1]["q2"]]
    assert all(mutants for _, query, mutants in work if "WHERE" in query.text)


def test_the_command_counts(tmp_path: Path) -> None:
    file = tmp_path / "few.jsonl"
    file.write_text("\n".join(map(json.dumps, PAIRS)), encoding="utf-8")
    result = CliRunner().invoke(app, ["hammer", str(file), "--databases", "50"])
    assert result.exit_code == 0
    assert "0 contradicted" in result.output
