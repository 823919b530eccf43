"""The command line: thin commands over the pipeline, the verifier, the rule catalogue and the store.

stdout is data, stderr is talk. Exit codes: 0 done (for ``verify``: equivalent as far as known), 1 ``verify`` refuted or
``batch`` met a condition of --fail-on, 2 bad input or usage, 3 target unreachable or lost, 4 the target refused or
stopped the statement, 5 store, 6 ``verify`` could not tell, 70 internal error, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from rewriter import __version__
from rewriter.batch.pairs import verify_pairs
from rewriter.candidates import Experience, default_sources
from rewriter.cli_batch import batch_command
from rewriter.cli_llm import BaseUrlOption, ModelOption, ModeOption, StrategyOption, llm_app, settings_with, sources_for
from rewriter.cli_rules import rules_app
from rewriter.cli_service import serve_command, worker_command
from rewriter.cli_support import (
    EXIT_REFUTED,
    EXIT_UNKNOWN,
    data_console,
    fail_softly,
    keep_experience,
    known_experience,
    progress_bar,
    read_parameter_sets,
    read_statement,
    read_text,
    replayed,
    stored_rules,
    talk,
    write,
    write_json,
)
from rewriter.engines import SchemaOnly, connect, without_credentials
from rewriter.engines.base import Engine
from rewriter.errors import RewriterError, StoreError, UsageError
from rewriter.parse import parse, read_schema
from rewriter.pipeline import EFFORTS, rewrite
from rewriter.records import Event, Query, Verdict, VerdictKind
from rewriter.report import plan_to_json, print_terminal, to_html, to_json, to_markdown, verdict_to_json
from rewriter.report.text import plan_lines
from rewriter.report.units import ratio
from rewriter.settings import Settings
from rewriter.store import Entry, Store
from rewriter.verify import Verifier
from rewriter.verify.data import Comparison

DATA_SECONDS = 300.0  # what one run may take for --on-data

EPILOG = (
    "Exit codes: 0 done, 1 refuted (verify) or a condition of --fail-on (batch), 2 bad input, 3 target unreachable or "
    "lost, 4 the target refused or stopped the statement, 5 store, 6 could not tell (verify), 70 internal error, "
    "130 interrupted."
)

app = typer.Typer(
    help="Rewrite slow SQL queries into faster equivalent ones, with evidence.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(rules_app, name="rules")
app.add_typer(llm_app, name="llm")
app.command("batch")(batch_command)
app.command("serve")(serve_command)
app.command("worker")(worker_command)

TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        metavar="URL",
        help="postgresql://..., duckdb:///FILE, embedded: (a Postgres of our own). Default: REWRITER_TARGET",
    ),
]
SchemaOption = Annotated[
    Path | None, typer.Option("--schema", metavar="DDL", help="a file of CREATE TABLE statements instead of a target")
]
DialectOption = Annotated[str, typer.Option("--dialect", help="dialect of --schema: postgres or duckdb")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON on stdout")]


def _version(value: bool) -> None:
    if value:
        print(__version__)  # noqa: T201 - stdout is data
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")] = (
        False
    ),
) -> None:
    """Options of the program itself."""


def _engine(target: str | None, schema: Path | None, dialect: str) -> Engine:
    """The engine for --target or --schema; REWRITER_TARGET when neither is given."""
    if target is not None and schema is not None:
        raise UsageError("--target and --schema exclude each other", hint="a live target knows its own schema")
    if schema is not None:
        if dialect not in ("postgres", "duckdb"):
            raise UsageError(f"unknown dialect {dialect!r}", hint="use postgres or duckdb")
        return SchemaOnly(read_schema(read_text(schema, "the schema"), dialect))
    url = target or Settings.load().target_url
    if url is None:
        raise UsageError("no target", hint="pass --target URL, set REWRITER_TARGET, or pass --schema ddl.sql")
    return connect(url)


@app.command("rewrite")
def rewrite_command(
    statement: Annotated[
        str | None, typer.Argument(metavar="[QUERY]", help="a file, the SQL text itself, or - for stdin")
    ] = None,
    target: TargetOption = None,
    schema: SchemaOption = None,
    dialect: DialectOption = "postgres",
    as_json: JsonOption = False,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="write a self-contained report")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="write the report")] = None,
    require: Annotated[
        str, typer.Option("--require", help="weakest verdict accepted: proved, bounded or tested")
    ] = "tested",
    adequacy: Annotated[
        float,
        typer.Option("--adequacy", help="share of the original's mutants that the tests must kill, 0 to 1"),
    ] = 0.0,
    on_data: Annotated[
        bool, typer.Option("--on-data", help="compare the results on the target's own data as well")
    ] = False,
    robust: Annotated[
        bool, typer.Option("--robust", help="the rewrite must be right with other constants too, and slow with none")
    ] = False,
    timeout: Annotated[float, typer.Option("--timeout", help="seconds one run of a query may take")] = 60.0,
    margin: Annotated[float, typer.Option("--margin", help="least speedup worth a change")] = 1.1,
    effort: Annotated[
        str, typer.Option("--effort", help="how long to search, verify and time: quick, normal or thorough")
    ] = "normal",
    trace: Annotated[
        bool, typer.Option("--trace", help="show what every step changed, and verify each step on its own")
    ] = False,
    model: ModelOption = None,
    base_url: BaseUrlOption = None,
    strategy: StrategyOption = None,
    answers: ModeOption = "cache",
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "--parameters",
            metavar="JSON|FILE",
            help="values for $1, $2, ... as a JSON array, such as '[\"2024-01-01\", 7]', or a file with one on each "
            "line; may be repeated",
        ),
    ] = None,
    runs: Annotated[
        float, typer.Option("--runs", min=0, help="how often the query runs a day: a model is asked only where it pays")
    ] = 0.0,
    record: Annotated[bool, typer.Option("--record/--no-record", help="keep the outcome in the store")] = True,
) -> None:
    """Rewrite one SELECT: find candidates, verify, measure, and print the fastest verified one with its evidence."""
    with fail_softly():
        if effort not in EFFORTS:
            raise UsageError(f"unknown effort {effort!r}", hint=f"use {', '.join(EFFORTS)}")
        demanded = replace(EFFORTS[effort], require=_verdict_kind(require), least_killed=adequacy, on_data=on_data)
        policy = replace(demanded, timeout=timeout, margin=margin, trace=trace, runs=runs, robust=robust)
        sql = read_statement(statement)
        with (
            contextlib.closing(_engine(target, schema, dialect)) as engine,
            sources_for(settings_with(model, base_url), strategy, answers) as asked,
            progress_bar("rewriting") as progress,
        ):
            experience = known_experience() if record else Experience()
            report = rewrite(
                sql,
                engine,
                policy=policy,
                sources=(*default_sources(experience, stored_rules()), *asked),
                parameter_sets=read_parameter_sets(parameters or ()),
                progress=progress,
                target=_shown(target, engine),
            )
        if html is not None:
            _save(html, to_html(report))
        if markdown is not None:
            _save(markdown, to_markdown(report))
        if as_json:
            write_json(to_json(report))
        else:
            print_terminal(report, data_console(), trace=trace)
        if record:
            # The answer is already out: a store that fails must not turn it into a failure.
            try:
                with contextlib.closing(Store(Settings.load().store_url)) as store:
                    store.record(report, to_json(report))
                    keep_experience(store, experience)
            except StoreError as error:
                talk.print(f"[yellow]warning:[/] not recorded: {error.message}", highlight=False)


def _verdict_kind(text: str) -> VerdictKind:
    try:
        return VerdictKind(text)
    except ValueError:
        raise UsageError(f"unknown verdict {text!r}", hint="use proved, bounded or tested") from None


def _save(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
    talk.print(f"wrote {path}", highlight=False)


@app.command("verify")
def verify_command(
    original: Annotated[Path | None, typer.Argument(metavar="[A.sql]")] = None,
    candidate: Annotated[Path | None, typer.Argument(metavar="[B.sql]")] = None,
    target: TargetOption = None,
    schema: SchemaOption = None,
    dialect: DialectOption = "postgres",
    as_json: JsonOption = False,
    pairs: Annotated[Path | None, typer.Option("--pairs", metavar="FILE", help="JSON lines of pairs")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="where verdicts of --pairs go")] = None,
    budget: Annotated[float, typer.Option("--budget", help="seconds per pair")] = 10.0,
    jobs: Annotated[int, typer.Option("--jobs", help="pairs at a time")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="seed of the generated databases")] = 0,
    on_data: Annotated[
        bool, typer.Option("--on-data", help="compare the results on the target's data as well")
    ] = False,
    replay: Annotated[
        Path | None,
        typer.Option("--replay", metavar="REPORT.json", help="verify the rewrite of a report anew"),
    ] = None,
) -> None:
    """Say whether two queries always return the same, and how that is known."""
    with fail_softly():
        if budget <= 0 or jobs < 1:
            raise UsageError("--budget must be more than 0 seconds and --jobs at least 1")
        if replay is not None and (original is not None or pairs is not None):
            raise UsageError("--replay takes its two queries from the report")
        if pairs is not None:
            if original is not None or out is None:
                raise UsageError("--pairs goes with --out FILE and without A.sql B.sql")
            _verify_file(pairs, out, budget, jobs)
            return
        recorded: str | None = None
        if replay is not None:
            one, two, recorded, seed = replayed(read_text(replay, "the report"))
        elif original is not None and candidate is not None:
            one, two = read_text(original, "the original"), read_text(candidate, "the candidate")
        else:
            raise UsageError("two files are needed", hint="rewriter verify A.sql B.sql --schema ddl.sql")
        with (
            contextlib.closing(_engine(target, schema, dialect)) as engine,
            contextlib.closing(connect("duckdb://:memory:")) as hunter,
        ):
            catalog = engine.catalog()
            first, second = parse(one, catalog), parse(two, catalog)
            judge = engine if engine.capabilities.runs else None
            verdict = Verifier(first, hunter, judge, seed=seed).certify(second.tree, seconds=budget)
            if on_data and verdict.kind.accepts:
                verdict = _on_data(first, second, engine, verdict)
        if as_json:
            write_json(verdict_to_json(verdict))
        else:
            _print_verdict(verdict)
        if recorded is not None:
            talk.print(f"the report says {recorded}" + ("" if recorded == verdict.kind.value else ": not reproduced"))
    if verdict.kind is VerdictKind.REFUTED:
        raise typer.Exit(EXIT_REFUTED)
    if verdict.kind is VerdictKind.UNKNOWN:
        raise typer.Exit(EXIT_UNKNOWN)


def _on_data(first: Query, second: Query, engine: Engine, verdict: Verdict) -> Verdict:
    """The verdict after both queries have run on the target's own data."""
    if not engine.capabilities.runs:
        raise UsageError("--on-data needs a target that can run queries", hint="give --target URL")
    found = Comparison(first, engine, DATA_SECONDS).check(second.statement)
    if found.same is None:
        return replace(verdict, reason=f"{verdict.reason}; the target's own data could not be compared in time")
    if not found.same:
        reason = "the two return different rows on the target's own data"
        return replace(verdict, kind=VerdictKind.REFUTED, method="data", reason=reason, proof=())
    same = f"the same {found.rows} rows on the target's own data, compared {found.how}"
    return replace(verdict, reason=f"{verdict.reason}; {same}")


def _print_verdict(verdict: Verdict) -> None:
    write(f"{verdict.kind.value}: {verdict.reason}")
    for number, step in enumerate(verdict.proof, start=1):
        write(f"  {number}. {step}")
    for assumption in verdict.assumptions:
        write(f"  assumes: {assumption}")
    if verdict.counterexample is not None:
        dialect, script = next(iter(verdict.counterexample.scripts.items()))
        write(f"-- counterexample ({dialect}): {verdict.counterexample.explanation}\n{script}")


def _verify_file(pairs: Path, out: Path, budget: float, jobs: int) -> None:
    lines = [line for line in read_text(pairs, "the pairs").splitlines() if line.strip()]
    counts: dict[str, int] = {}
    try:
        sink = out.open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from None
    with sink, progress_bar("verifying") as progress:
        for done, result in enumerate(verify_pairs(lines, budget, jobs), start=1):
            # One line is written and flushed as soon as it is known, so an interruption loses nothing.
            sink.write(json.dumps(result, ensure_ascii=False, default=str) + "\n")
            sink.flush()
            counts[result["verdict"]] = counts.get(result["verdict"], 0) + 1
            summary = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
            progress(Event("verify", summary, done, len(lines)))
    table = Table("verdict", "pairs", title=str(out))
    for kind, count in sorted(counts.items()):
        table.add_row(kind, str(count))
    talk.print(table)


@app.command("explain")
def explain_command(
    statement: Annotated[str | None, typer.Argument(metavar="[QUERY]", help="a file, SQL text, or - for stdin")] = None,
    target: TargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how the target would run a statement (estimates only: nothing is run)."""
    with fail_softly():
        sql = read_statement(statement)
        with contextlib.closing(_engine(target, None, "postgres")) as engine:
            plan = engine.explain(parse(sql, engine.catalog()).statement)
        if as_json:
            write_json(plan_to_json(plan))
        else:
            write("\n".join(plan_lines(plan)))


def _shown(target: str | None, engine: Engine) -> str:
    """What the record calls the target: its engine, and its place without user and password."""
    url = target or Settings.load().target_url
    if url is None or not engine.capabilities.runs:
        return engine.name
    return without_credentials(url)


@app.command("history")
def history_command(
    limit: Annotated[int, typer.Option("--limit", "-n", help="how many, newest first")] = 20,
    as_json: JsonOption = False,
    show: Annotated[str | None, typer.Option("--show", metavar="ID", help="the full report of one entry")] = None,
) -> None:
    """What was rewritten before, newest first."""
    with fail_softly(), contextlib.closing(Store(Settings.load().store_url)) as store:
        if show is not None:
            stored = store.rewrite(show)
            if stored is None:
                raise UsageError(f"there is no entry {show}", hint="rewriter history lists them")
            write_json(stored)
            return
        _show_history(store.history(limit), as_json)


def _show_history(entries: list[Entry], as_json: bool) -> None:
    if as_json:
        write_json([{**asdict(entry), "created": entry.created.isoformat()} for entry in entries])
        return
    if not entries:
        talk.print("nothing was rewritten yet")
        return
    table = Table("id", "when", "target", "faster", "verdict", "statement")
    for entry in entries:
        statement = " ".join(entry.statement.split())
        table.add_row(
            entry.id,
            f"{entry.created:%Y-%m-%d %H:%M}",
            Text(entry.target),
            ratio(entry.ratio, at_least=entry.at_least) if entry.chosen else "kept",
            entry.verdict or "-",
            Text(statement if len(statement) <= 60 else f"{statement[:57]}..."),
        )
    data_console().print(table)


def main() -> None:
    """Entry point of the ``rewriter`` command."""
    try:
        app()
    except RewriterError as error:  # raised outside a command, for example by settings
        talk.print(f"[bold red]error:[/] {error.message}", highlight=False)
        sys.exit(error.exit_code)
