"""The command line as a user meets it: a real process, exit codes, one message, nothing secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from rewriter.cli import app
from rewriter.cli_support import read_parameter_sets
from rewriter.records import VerdictKind
from tests.shop import SLOW

DDL = "CREATE TABLE sale (id int PRIMARY KEY, shop_id int, amount numeric(8, 2) NOT NULL);"


def rewriter(
    *arguments: str, stdin: str = "", home: Path | None = None, check: int | None = 0
) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("REWRITER_")}
    environment["NO_COLOR"] = "1"
    if home is not None:
        environment["REWRITER_STORE"] = f"sqlite:///{home / 'store.sqlite'}"
    done = subprocess.run(
        [sys.executable, "-m", "rewriter", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env=environment,
        timeout=100,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    if check is not None:
        assert done.returncode == check, done.stderr
    return done


def here(*arguments: str, stdin: str = "", check: int = 0) -> Result:
    """The same program inside this process, for the many cases where only the message and the exit code matter."""
    done = CliRunner().invoke(
        app, arguments, input=stdin, env={"REWRITER_TARGET": None, "NO_COLOR": "1", "COLUMNS": "200"}
    )
    assert done.exit_code == check, done.output
    assert "Traceback" not in done.output
    return done


@pytest.fixture
def schema(tmp_path: Path) -> str:
    path = tmp_path / "schema.sql"
    path.write_text(DDL)
    return str(path)


def test_help_names_every_command_and_the_exit_codes() -> None:
    text = here("--help").stdout
    for word in ("rewrite", "verify", "rules", "explain", "history", "130", "interrupted"):
        assert word in text


def test_rewrite_prints_data_on_stdout_and_records_it(shop_url: str, tmp_path: Path) -> None:
    page, notes = tmp_path / "r.html", tmp_path / "r.md"
    arguments = (
        "rewrite",
        "-",
        "--effort",
        "quick",
        "--target",
        shop_url,
        "--json",
        "--timeout",
        "20",
        "--html",
        str(page),
        "--markdown",
        str(notes),
    )
    done = rewriter(*arguments, stdin=SLOW, home=tmp_path)
    document = json.loads(done.stdout)
    assert document["chosen"]["steps"][0]["rule"]
    assert VerdictKind(document["verdict"]["kind"]).accepts
    assert page.read_text().startswith("<!doctype html>")
    assert notes.read_text().startswith("# ")
    history = json.loads(rewriter("history", "--json", home=tmp_path).stdout)
    assert len(history) == 1
    assert history[0]["chosen"]
    shown = json.loads(rewriter("history", "--show", history[0]["id"], home=tmp_path).stdout)
    assert shown == document
    assert "sale" in rewriter("history", home=tmp_path).stdout


def test_rewrite_from_a_file_and_a_schema_alone(schema: str, tmp_path: Path) -> None:
    query = tmp_path / "q.sql"
    query.write_text(SLOW)
    done = rewriter("rewrite", str(query), "--effort", "quick", "--schema", schema, "--no-record")
    assert "measuring was skipped" in done.stdout


def test_verify_tells_by_exit_code(schema: str, tmp_path: Path) -> None:
    texts = {
        "a": "SELECT id FROM sale WHERE amount > 10",
        "b": "SELECT id FROM sale WHERE NOT amount <= 10",
        "c": "SELECT id FROM sale WHERE amount >= 10",
    }
    for name, sql in texts.items():
        (tmp_path / f"{name}.sql").write_text(sql)
    a, b, c = (str(tmp_path / f"{name}.sql") for name in texts)
    same = rewriter("verify", a, b, "--schema", schema, "--budget", "2")
    assert same.stdout.startswith("proved")
    assert "  1. " in same.stdout
    different = rewriter("verify", a, c, "--schema", schema, "--dialect", "postgres", "--json", check=1)
    document = json.loads(different.stdout)
    assert document["kind"] == "refuted"
    assert "INSERT" in document["counterexample"]["scripts"]["postgres"]
    plain = rewriter("verify", a, c, "--schema", schema, check=1)
    assert "CREATE TABLE" in plain.stdout


def test_verify_pairs_writes_one_line_each_whatever_the_lines_hold(tmp_path: Path) -> None:
    schema = [{"table": "t", "columns": [{"name": "a", "type": "INTEGER", "nullable": True}], "pk": [], "fks": []}]
    lines = [
        {
            "id": "wrong",
            "dialect": "duckdb",
            "schema": schema,
            "q1": "SELECT a FROM t",
            "q2": "SELECT DISTINCT a FROM t",
        },
        {"id": "same", "dialect": "duckdb", "schema": schema, "q1": "SELECT a FROM t", "q2": "SELECT t.a FROM t"},
        {"id": "broken", "dialect": "duckdb", "schema": schema, "q1": "SELECT a FROM t", "q2": "DROP TABLE t"},
    ]
    pairs, out = tmp_path / "pairs.jsonl", tmp_path / "out.jsonl"
    pairs.write_text("\n".join(json.dumps(line) for line in lines) + "\nnot json\n")
    rewriter("verify", "--pairs", str(pairs), "--out", str(out), "--budget", "1", "--jobs", "2")
    results = {str(entry["id"]): entry for entry in map(json.loads, out.read_text().splitlines())}
    assert len(results) == 4
    assert results["wrong"]["verdict"] == "refuted"
    assert "INSERT" in results["wrong"]["counterexample"]
    assert results["same"]["verdict"] == "proved"
    assert results["broken"]["verdict"] == "unknown"
    for entry in results.values():
        assert set(entry) >= {"id", "verdict", "method", "seconds", "counterexample", "reason"}


def test_a_rule_document_is_checked(tmp_path: Path) -> None:
    assert json.loads(here("rules", "check", "predicate/coalesce_other_value", "--json").stdout)["ok"]
    text = here("rules", "show", "predicate/coalesce_other_value").stdout
    own = tmp_path / "mine.md"
    own.write_text(text.replace("- in a filter", ""))
    report = json.loads(here("rules", "check", str(own), "--json", check=1).stdout)
    assert not report["ok"]
    assert {finding["check"] for finding in report["findings"] if not finding["ok"]} == {"leaves alone", "wrong"}
    own.write_text(text.replace("@value = @sought", "@valu = @sought"))
    assert "mine.md:" in here("rules", "check", str(own), check=2).stderr


def test_rules_are_listed_and_shown() -> None:
    listed = json.loads(here("rules", "list", "--json").stdout)
    assert len([entry for entry in listed if entry["executable"]]) >= 10
    text = here("rules", "show", "count_to_exists").stdout
    assert "## Precondition" in text
    assert here("rules", "show", "nonsense", check=2).stderr


def test_explain_shows_the_plan_without_running(shop_url: str) -> None:
    done = rewriter("explain", "SELECT count(*) FROM sale", "--target", shop_url)
    assert "Seq Scan" in done.stdout


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("", "no statement"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("DELETE FROM sale", "DELETE"),
        ("SELECT " + "(" * 100_000 + "1" + ")" * 100_000, "nested"),
        ("SELECT * FROM sael", "sale"),
        ("SELECT amout FROM sale", "amount"),
        ("SELECT id FROM sale WHERE", "syntax"),
        ("SELECT pg_sleep(5)", "pg_sleep"),
        ("\x00\x01\x02", "NUL"),
    ],
)
def test_bad_statements_get_one_message_and_exit_2(schema: str, sql: str, words: str) -> None:
    done = here("rewrite", "-", "--schema", schema, "--no-record", stdin=sql, check=2)
    assert words in done.stderr
    assert done.stdout == ""
    assert done.stderr.count("error:") == 1


def test_bad_targets_get_exit_3_and_keep_the_secret(tmp_path: Path, postgres_url: str) -> None:
    unreachable = rewriter("rewrite", "SELECT 1", "--target", "postgresql://me:hush-hush@127.0.0.1:1/db", check=3)
    assert "hush-hush" not in unreachable.stderr + unreachable.stdout
    assert "hint:" in unreachable.stderr
    here("rewrite", "SELECT 1", "--target", "duckdb:///no/such/file.duckdb", check=3)
    here("rewrite", "SELECT 1", "--target", postgres_url.replace("/postgres?", "/nowhere?"), check=3)


def test_bad_usage_gets_exit_2(schema: str, tmp_path: Path) -> None:
    assert "target" in here("rewrite", "SELECT 1", check=2).stderr
    here("rewrite", "SELECT 1", "--target", "embedded:", "--schema", schema, check=2)
    here("rewrite", "SELECT 1", "--schema", schema, "--require", "certain", check=2)
    here("rewrite", "nowhere.sql", "--schema", schema, check=2)
    here("rewrite", "SELECT 1", "--schema", str(tmp_path / "none.sql"), check=2)
    here("verify", check=2)
    here("verify", "--pairs", str(tmp_path / "none.jsonl"), check=2)


@pytest.mark.parametrize("given", ["7", "[1, 2", '{"a": 1}', "[[1], 2]", "nowhere.jsonl", '["hush-hush", {}]'])
def test_parameters_that_cannot_be_used_get_exit_2_and_are_not_repeated(schema: str, given: str) -> None:
    done = here("rewrite", "SELECT id FROM sale WHERE id = $1", "--schema", schema, "--parameters", given, check=2)
    assert "hush" not in done.output


def test_parameters_come_one_by_one_or_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sets.jsonl"
    path.write_text('["2024-01-01", 7]\n\n[null, 1.50]\n')
    sets = read_parameter_sets(["[true]", str(path)])
    assert sets == [(True,), ("2024-01-01", 7), (None, Decimal("1.50"))]


@pytest.mark.slow
def test_a_query_that_never_ends_is_stopped_and_told(shop_url: str) -> None:
    endless = "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t, sale"
    done = rewriter(
        "rewrite", endless, "--effort", "quick", "--target", shop_url, "--timeout", "1", "--no-record", check=None
    )
    assert done.returncode in (0, 4)
    assert done.stdout or "error:" in done.stderr


def test_a_broken_store_does_not_lose_the_answer(schema: str, tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_text("no database" * 200)
    done = rewriter("rewrite", "SELECT id FROM sale", "--effort", "quick", "--schema", schema, home=tmp_path)
    assert done.stdout
    assert "not recorded" in done.stderr
