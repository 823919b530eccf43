"""docs/engines.md says where DuckDB and Postgres differ: every line of its table holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewriter.engines import DuckDB, Postgres
from rewriter.engines.base import Engine, Limits
from rewriter.errors import EngineError

DOCUMENT = Path(__file__).parents[2] / "docs" / "engines.md"
LINES = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines()
    if line.startswith("|") and "`" in line
]
NAMES = [line[0] for line in LINES]


def test_the_table_is_read() -> None:
    assert len(LINES) >= 15
    assert any(duckdb != postgres for _, _, duckdb, postgres in LINES)


@pytest.mark.parametrize(
    ("query", "duckdb", "postgres_answer"), [line[1:] for line in LINES], ids=[x[0] for x in LINES]
)
def test_a_line_holds(query: str, duckdb: str, postgres_answer: str, hunter: DuckDB, postgres: Postgres) -> None:
    assert answer(hunter, query) == duckdb
    assert answer(postgres, query) == postgres_answer


def answer(engine: Engine, query: str) -> str:
    try:
        result = engine.run(query.strip("`"), Limits(10.0))
    except EngineError:
        return "error"
    return ", ".join(shown(row[0]) for row in result.rows)


def shown(value: object) -> str:
    return "NULL" if value is None else str(value).upper() if isinstance(value, bool) else str(value)
