"""What DuckDB itself does not stop, the child process must (measured facts on 1.5 and 2.0)."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriter.engines import DuckDB, connect
from rewriter.engines.base import Limits
from rewriter.engines.duckdb_child import decode, encode
from rewriter.errors import EngineError, QueryTimeout, ResourcesExceeded, TargetUnreachable

LIMITS = Limits(seconds=10.0)


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDB]:
    made = DuckDB(memory=1_500_000_000)
    yield made
    made.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/etc/*')",
        "COPY (SELECT 1) TO '/tmp/rewriter-escaped.csv'",
        "EXPORT DATABASE '/tmp/rewriter-escaped'",
        "ATTACH '/tmp/rewriter-escaped.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 4",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "RESET memory_limit",
    ],
)
def test_files_and_settings_are_out_of_reach(engine: DuckDB, sql: str) -> None:
    with pytest.raises(EngineError):
        engine.run(sql, LIMITS)
    assert not list(Path("/tmp").glob("rewriter-escaped*"))


@pytest.mark.parametrize(
    "sql",
    [
        "CALL enable_logging(storage='file', storage_config={'path': '/tmp/rewriter-escaped'})",
        "PRAGMA enable_profiling",
        "PRAGMA profiling_output='/tmp/rewriter-escaped.json'",
    ],
)
def test_what_escapes_the_lock_hurts_only_the_child(sql: str) -> None:
    """On 1.5 the first aborts the process; whatever happens, no file appears and the engine answers again."""
    with contextlib.closing(DuckDB()) as engine:
        with contextlib.suppress(EngineError):
            engine.run(sql, LIMITS)
        with contextlib.suppress(EngineError):
            engine.run("SELECT 42 AS a", LIMITS)
        assert engine.run("SELECT 42 AS a", LIMITS).rows == ((42,),)
    assert not list(Path("/tmp").glob("rewriter-escaped*"))


def test_a_memory_bomb_ends_cleanly(engine: DuckDB) -> None:
    with pytest.raises(EngineError) as caught:
        engine.run("SELECT length(repeat('a', 3000000000)) AS n", LIMITS)
    assert isinstance(caught.value, (ResourcesExceeded, QueryTimeout))
    assert engine.run("SELECT 1 AS a", LIMITS).rows == ((1,),)


def test_a_runaway_recursion_is_killed_in_time(engine: DuckDB) -> None:
    started = time.monotonic()
    with pytest.raises(QueryTimeout):
        engine.run(
            "WITH RECURSIVE t AS (SELECT 1 a UNION ALL SELECT a + 1 FROM t) SELECT max(a) AS m FROM t", Limits(0.5)
        )
    assert time.monotonic() - started < 8


def test_a_killed_child_is_an_error_and_the_next_run_works(engine: DuckDB) -> None:
    engine.run("SELECT 1 AS a", LIMITS)
    process = engine._process
    assert process is not None
    killer = threading.Timer(0.4, lambda: os.kill(process.pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(ResourcesExceeded):
        engine.run("WITH RECURSIVE t AS (SELECT 1 a UNION ALL SELECT a + 1 FROM t) SELECT max(a) AS m FROM t", LIMITS)
    killer.join()
    assert engine.run("SELECT 1 AS a", LIMITS).rows == ((1,),)


def test_the_child_sees_neither_home_nor_environment(engine: DuckDB) -> None:
    process = engine._process
    assert process is not None
    environment = Path(f"/proc/{process.pid}/environ").read_bytes().decode()
    assert "PYTHONPATH" not in environment
    assert str(Path.home()) not in environment.split("\0")


def test_a_missing_file_is_told() -> None:
    with pytest.raises(TargetUnreachable):
        connect("duckdb:///nowhere/at-all.duckdb")


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "text.duckdb"
    path.write_text("this is no database " * 500)
    with pytest.raises(TargetUnreachable):
        connect(str(path))


def test_without_its_optimizer_it_answers_the_same() -> None:
    sql = "SELECT sum(a) AS s FROM range(10) AS r(a) WHERE a > 3 AND a > 3"
    with contextlib.closing(DuckDB(optimizer=False)) as plain, contextlib.closing(DuckDB()) as optimised:
        assert plain.run(sql, LIMITS).rows == optimised.run(sql, LIMITS).rows


values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        st.text(),
        st.decimals(allow_nan=False),
        st.dates(),
        st.datetimes(),
        st.times(),
        st.timedeltas(),
        st.binary(),
        st.uuids(),
    ),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(values)
def test_values_pass_the_pipe_unchanged(value: object) -> None:
    import json

    assert decode(json.loads(json.dumps(encode(value)))) == value
