"""The benchmark's arithmetic, keys and tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rewriter.errors import UsageError
from tpc.data import query_texts, workload_texts
from tpc.load import load
from tpc.outcome import Outcome, figures, peer_figures
from tpc.suites import DS, SUITES, H
from tpc.table import as_markdown, summary


def outcome(name: str, ratio: float, **more: object) -> Outcome:
    return Outcome(name, 1.0, 1.0 / ratio, ratio, False, "tested", ("f/r",), True, 3, {"verify": 1.0}, **more)  # type: ignore[arg-type]


def test_counts_and_means_are_as_defined() -> None:
    kept = Outcome("k", 1.0, None, 1.0, False, "-", (), True, 0, {})
    stopped = Outcome("s", 60.0, 1.0, 60.0, True, "tested", ("f/r",), None, 2, {})
    wrong = Outcome("w", 1.0, 0.5, 2.0, False, "tested", ("f/r",), False, 2, {})
    counted = figures([outcome("a", 1.6), outcome("b", 10.0), outcome("c", 0.9), kept, stopped, wrong])
    assert (counted.queries, counted.at_1_5, counted.at_2, counted.at_10, counted.slower) == (6, 4, 3, 2, 1)
    assert (counted.wrong, counted.not_compared, counted.errors) == (1, 1, 0)
    assert counted.mean == pytest.approx((1.6 * 10 * 0.9 * 1 * 60 * 2) ** (1 / 6))
    assert counted.mean_running == pytest.approx((1.6 * 10 * 0.9 * 1 * 2) ** (1 / 5))


def test_the_peers_wrong_results_and_errors_count_as_one() -> None:
    outcomes = [
        outcome("a", 2.0, peer_ratio=4.0, peer_same=True),
        outcome("b", 2.0, peer_ratio=9.0, peer_same=False),
        outcome("c", 2.0, peer_error="does not bind"),
    ]
    counted = peer_figures(outcomes)
    assert counted is not None
    assert (counted.at_2, counted.wrong, counted.errors) == (1, 1, 1)
    assert counted.mean == pytest.approx(4.0 ** (1 / 3))
    assert peer_figures([outcome("a", 2.0)]) is None


def test_outcomes_survive_the_file() -> None:
    one = outcome("a", 2.0, peer_ratio=1.5)
    assert Outcome.from_json(json.loads(json.dumps(one.to_json()))) == one
    assert "| a |" in as_markdown([one], "title")
    assert len(summary([one])) == 2


def test_every_suite_has_its_queries_and_declares_its_keys() -> None:
    assert len(query_texts(H)) == 22
    assert len(query_texts(DS)) == 99
    for suite in SUITES.values():
        for table, keys in suite.foreign_keys.items():
            assert table in suite.primary_keys
            for _, parent, referenced in keys:
                assert suite.primary_keys[parent] == referenced


def test_a_workload_is_a_folder_of_sql_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        workload_texts(tmp_path)
    for name in ("10a", "2b", "1a"):
        (tmp_path / f"{name}.sql").write_text("SELECT 1")
    assert list(workload_texts(tmp_path)) == ["1a", "2b", "10a"]


@pytest.mark.slow
def test_a_suite_loads_into_postgres_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    import contextlib

    import psycopg

    from rewriter.engines import connect, scratch
    from rewriter.pipeline import Policy
    from tpc.run import RunPolicy, run

    monkeypatch.setenv("REWRITER_CACHE", str(tmp_path))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS tpch_test WITH (FORCE)")
        connection.execute("CREATE DATABASE tpch_test")
    target = postgres_url.replace("/postgres?", "/tpch_test?")
    notes = load(H, 0.01, target, lambda what, done, total: None)
    assert "rows loaded" in notes[0]
    assert "already" in load(H, 0.01, target, lambda what, done, total: None)[0]
    texts = {name: text for name, text in query_texts(H).items() if name in ("2", "17", "6")}
    policy = RunPolicy(
        Policy(timeout=20, search_seconds=3, candidates=8, verify_seconds=1, race_seconds=1, racers=3), peer=True
    )
    with contextlib.closing(connect(target)) as engine, contextlib.closing(scratch()) as hunter:
        outcomes = [outcome for outcome, _ in run(texts, engine, hunter, policy)]
    assert [entry.query for entry in outcomes] == list(texts)
    assert not [entry for entry in outcomes if entry.same is False or entry.error]
    assert all(entry.candidates for entry in outcomes if entry.query != "6")
