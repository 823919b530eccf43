"""From a log to verified rewrites, on a real Postgres; and a run that goes on where another ended."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import psycopg
import pytest
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


def batch(*arguments: str) -> dict[str, object]:
    done = CliRunner().invoke(app, ["batch", *arguments, "--jobs", "1", "--json"])
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
