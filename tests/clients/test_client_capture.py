"""What an application runs is written so that ``rewriter batch`` reads it and the texts are the exact ones."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, literal, select

from rewriter.batch.logs import gather
from rewriter.clients import capture as capturing
from rewriter.clients.capture import Capture


def test_captured_statements_are_a_log(orders_url: str, tmp_path: Path) -> None:
    path = tmp_path / "statements.jsonl"
    engine = create_engine(orders_url.replace("postgresql://", "postgresql+psycopg://"))
    statement = "SELECT count(*) FROM customer WHERE id > %s"
    for _ in range(2):  # what is written twice adds up
        with Capture(path) as capture:
            with psycopg.connect(orders_url, cursor_factory=capture.cursor_factory()) as connection:
                for low in range(3):
                    connection.execute(statement, (low,))
            end = capture.watch(engine)
            with engine.connect() as wrapped:
                wrapped.execute(select(literal(1) + 1))
                wrapped.execute(select(literal(2) + 1))
            end()
            with engine.connect() as wrapped:
                wrapped.execute(select(literal(3) + 1))
    engine.dispose()
    assert path.stat().st_mode & 0o077 == 0
    groups = gather([path], "postgres", jobs=1).groups.groups.values()
    calls = {group.example.statement: group.total.calls for group in groups if group.example is not None}
    assert calls[statement] == 6
    assert calls["SELECT %(param_1)s::INTEGER + %(param_2)s::INTEGER AS anon_1"] == 4


def test_memory_does_not_grow_with_the_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capturing, "MOST", 3)
    capture = Capture(tmp_path / "statements.jsonl")
    for number in range(10):
        capture.record(f"SELECT {number}", 0.1)
        capture.record("SELECT 0", 0.1)
    assert capture.dropped == 7
    capture.flush()
    assert len((tmp_path / "statements.jsonl").read_text().splitlines()) == 3
