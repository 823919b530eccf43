"""From a log to verified rewrites, on a real Postgres; and a run that goes on where another ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from rewriter.batch import work as batch_work
from rewriter.batch.work import FAILED, FASTER, KNOWN, REFUSED, Item, work
from rewriter.cli import app
from rewriter.engines import Postgres
from rewriter.errors import TargetLost
from rewriter.pipeline import EFFORTS
from rewriter.store import Store
from tests.shop import SLOW

QUICK = EFFORTS["quick"]


def line(seconds: float, statement: str) -> str:
    return f"2026-11-20 10:00:00.000 UTC [7] LOG:  duration: {seconds * 1000:.3f} ms  statement: {statement}\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "postgresql.log"
    slow = [line(1.5, SLOW.replace("1.2", f"1.{number}")) for number in range(20, 30)]
    quick = [line(0.001, f"SELECT id FROM sale WHERE id = {number}") for number in range(50)]
    file.write_text("".join([*slow, *quick, line(0.2, "INSERT INTO sale VALUES (1)"), "no log line\n"]))
    return file


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    monkeypatch.setenv("REWRITER_STORE", url)
    return url


def invoked(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["batch", *arguments, "--jobs", "1"])


def batch(*arguments: str) -> dict[str, object]:
    done = invoked(*arguments, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_ranks_without_a_target(log: Path) -> None:
    data = batch(str(log))
    groups = data["groups"]
    assert isinstance(groups, list)
    assert [one["calls"] for one in groups] == [10, 50]
    assert groups[0]["seconds"] == pytest.approx(15.0)
    assert groups[0]["result"] is None
    assert data["other_statements"]["INSERT"]["entries"] == 1  # type: ignore[index]
    assert [part["lines"] for part in data["skipped"]] == [1]  # type: ignore[attr-defined]


def test_rewrites_what_took_the_most_time_and_remembers(log: Path, shop_url: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    data = batch(str(log), "--target", shop_url, "--top", "1", "--out", str(out))
    (first,) = data["groups"]  # type: ignore[misc]
    assert first["result"]["outcome"] == FASTER
    assert first["result"]["saving"]["log"]["expected"] > 1.0
    assert json.loads((out / "batch.json").read_text()) == data
    assert "faster" in (out / "batch.md").read_text()
    with psycopg.connect(shop_url) as connection:
        connection.execute((out / "rewrites.sql").read_text())
    again = batch(str(log), "--target", shop_url, "--top", "1")
    (first,) = again["groups"]  # type: ignore[misc]
    assert first["result"]["outcome"] == KNOWN
    assert first["result"]["speedup"]["ratio"] > 1.1


def test_formats_are_written_or_printed(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    assert invoked(str(log), "--out", str(out), "--format", "csv,sarif").exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == ["batch.csv", "batch.sarif"]
    assert invoked(str(log), "--out", str(out)).exit_code == 0
    assert {"batch.json", "batch.md", "batch.html", "rewrites.sql"} < {path.name for path in out.iterdir()}
    printed = invoked(str(log), "--format", "csv")
    assert printed.stdout.splitlines()[0] == (out / "batch.csv").read_text().splitlines()[0]
    assert len(printed.stdout.splitlines()) == 3
    for wrong in (["--format", "csv,json"], ["--format", "pdf"], ["--out", "-"], ["--fail-on", "slow"]):
        assert invoked(str(log), *wrong).exit_code == 2


def test_ci_may_fail_on_what_it_names(log: Path) -> None:
    assert invoked(str(log), "--fail-on", "faster,failed").exit_code == 0
    failed = invoked(str(log), "--fail-on", "malformed")
    assert failed.exit_code == 1
    assert "1 malformed line" in failed.stderr


def test_an_ignore_list_is_a_file_or_a_key(log: Path, tmp_path: Path) -> None:
    keys = [one["key"] for one in batch(str(log))["groups"]]  # type: ignore[attr-defined]
    listed = tmp_path / "ignore.txt"
    listed.write_text(f"# known\n\n{keys[0]}  # the nightly report\n0000\n")
    data = batch(str(log), "--ignore", str(listed))
    assert [one["key"] for one in data["groups"]] == keys[1:]  # type: ignore[attr-defined]
    assert data["unmatched_ignores"] == ["0000"]
    assert batch(str(log), "--ignore", keys[0], "--ignore", keys[1])["groups"] == []
    listed.write_text("SELECT 1\n")
    refused = invoked(str(log), "--ignore", str(listed))
    assert refused.exit_code == 2
    assert "line 1" in refused.stderr
    assert invoked(str(log), "--ignore", "no/such/file").exit_code == 2


def test_the_next_run_reads_what_is_new(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = (str(log.parent / "postgresql.log"), "--out", str(out), "--since-last")
    assert invoked(str(log), "--since-last").exit_code == 2  # where should it be kept?
    first = batch(*arguments)
    assert not first["new_part_only"]
    assert batch(*arguments)["entries"] == 0
    with log.open("a") as file:  # a record that is being written is left to the run after
        file.write(line(1.0, "SELECT city FROM shop") * 2 + line(1.0, "SELECT city FROM shop")[:40])
    second = batch(*arguments)
    assert second["new_part_only"]
    assert [one["calls"] for one in second["groups"]] == [1]  # type: ignore[attr-defined]
    with log.open("a") as file:
        file.write(line(1.0, "SELECT city FROM shop")[40:])
    rotated = log.with_suffix(".1")
    log.rename(rotated)
    log.write_text(line(2.0, "SELECT 1") * 3)
    third = batch(str(rotated), *arguments)
    assert sorted(one["calls"] for one in third["groups"]) == [2, 3]  # type: ignore[attr-defined]
    (out / "positions.json").write_text('{"version": 1, "positions": [{"path": 1}]}')
    spoilt = invoked(*arguments)
    assert spoilt.exit_code == 2
    assert "positions.json" in spoilt.stderr


@pytest.mark.slow
def test_an_interruption_tells_what_is_done_and_goes_on(log: Path, shop_url: str, tmp_path: Path) -> None:
    """Ctrl-C as the terminal sends it: to every process of the command."""
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "rewriter",
        "batch",
        str(log),
        "--target",
        shop_url,
        "--out",
        str(out),
        "--since-last",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as running:
        assert running.stderr is not None
        first = running.stderr.readline()  # of the first group
        os.killpg(running.pid, signal.SIGINT)
        told = running.stderr.read()
        assert running.wait(60) == 130
    assert first.startswith("1/2 group")
    assert "Traceback" not in told
    assert "run the same command again" in told
    data = json.loads((out / "batch.json").read_text())
    assert data["interrupted"]
    assert data["waiting"] == 1
    assert [one["result"] is not None for one in data["groups"]] == [True, False]
    assert not (out / "positions.json").exists()  # so that the next run reads the same part again
    again = batch(str(log), "--target", shop_url, "--out", str(out), "--since-last")
    assert again["outcomes"]["known"] == 1  # type: ignore[index]
    assert (out / "positions.json").exists()


@pytest.mark.slow
def test_an_interruption_while_reading_ends_the_readers(tmp_path: Path) -> None:
    """Also where only the first process hears of it, as from ``kill -INT``."""
    log = tmp_path / "postgresql.log"
    with log.open("w") as file:
        for _ in range(5):
            file.write(line(0.001, "SELECT id FROM sale WHERE id = 1") * 100_000)
    reader = "import sys, rewriter.cli; print('ready', file=sys.stderr, flush=True); rewriter.cli.main()"
    command = [sys.executable, "-c", reader, "batch", str(log), "--jobs", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as running:
        assert running.stderr is not None
        assert running.stderr.readline() == "ready\n"
        until = time.monotonic() + 60
        while len(psutil.Process(running.pid).children()) < 2 and time.monotonic() < until:
            time.sleep(0.1)
        readers = psutil.Process(running.pid).children()
        assert len(readers) >= 2
        os.kill(running.pid, signal.SIGINT)
        assert running.wait(60) == 130
        assert "Traceback" not in running.stderr.read()
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in readers)


def test_bad_statements_are_told_and_the_others_done(shop: Postgres, own_store: str) -> None:
    todo = [
        Item("a", "SELECT nothing FROM nowhere", 1, 1.0),
        Item("b", "DELETE FROM sale", 1, 1.0),
        Item("c", "SELECT id FROM sale WHERE id = $1", 1, 1.0, (("7",),)),
    ]
    with contextlib.closing(Store(own_store)) as store:
        outcomes = [one.outcome for one in work(todo, shop, store, policy=QUICK)]
    assert outcomes[:2] == [REFUSED, REFUSED]
    assert outcomes[2] not in (REFUSED, FAILED)


@pytest.mark.slow
def test_all_sets_of_the_log_that_fit_are_used_and_told_of(shop: Postgres, own_store: str) -> None:
    seen = (("5000",), ("5400",), ("too", "many"), ("5900",))
    todo = [Item("a", f"{SLOW} AND s.id > $1", 4, 9.0, seen)]
    policy = replace(QUICK, verify_seconds=1.0, regression=0.0)
    with contextlib.closing(Store(own_store)) as store:
        (done,) = work(todo, shop, store, policy=policy)
        assert done.outcome == FASTER, done.reason
        stored = store.rewrite(done.rewrite or "") or {}
        (again,) = work(todo, shop, store, policy=policy)
    assert [one["label"] for one in stored["sets"]] == ["set 1", "set 2", "set 3"]
    assert done.holds_for == stored["holds_for"]
    if done.holds_for == "observed":
        assert list(stored["parameter_sets"].values()) == [["5000"], ["5400"], ["5900"]]
    assert (again.outcome, again.holds_for, again.regressions) == (KNOWN, done.holds_for, done.regressions)


def test_an_interrupted_run_goes_on(shop: Postgres, own_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    todo = [Item(str(number), f"SELECT id FROM sale WHERE id = {number}", 1, 1.0) for number in range(3)]
    todo[1] = Item("1", "SELECT shop_id FROM sale WHERE id = 1", 1, 1.0)
    done = []
    with contextlib.closing(Store(own_store)) as store:
        running = work(todo, shop, store, policy=QUICK)
        done.append(next(running))

        def lost(*arguments: object, **options: object) -> None:
            raise TargetLost("gone")

        with monkeypatch.context() as broken:
            broken.setattr(batch_work, "rewrite", lost)
            with pytest.raises(TargetLost):
                next(running)
        again = list(work(todo, shop, store, policy=QUICK))
        assert len(store.history()) == 2  # the first and the third differ in a literal that is compared
    assert [one.outcome == KNOWN for one in again] == [True, False, True]
