"""``python -m tpc``: load benchmark data, run workloads through the pipeline, print the table, show the demo."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from rewriter.cli_support import data_console, fail_softly, talk, write
from rewriter.engines import connect, scratch
from rewriter.engines.base import Engine
from rewriter.errors import UsageError
from rewriter.pipeline import EFFORTS, Policy
from rewriter.records import Event, Report
from rewriter.report import to_html_index
from tpc import catalogue, cluster, hammer, log_mix, logs, mutation, pairs, service_load
from tpc.data import query_texts, workload_texts
from tpc.job import load_job
from tpc.load import embedded_database, load, target_for
from tpc.outcome import Outcome
from tpc.run import RunPolicy, run
from tpc.source import Tell
from tpc.suites import SUITES, Suite
from tpc.table import as_markdown, as_rich, summary

app = typer.Typer(help="Benchmarks: TPC-H, TPC-DS and folders of queries.", no_args_is_help=True, add_completion=False)

SuiteOption = Annotated[str, typer.Option("--suite", help="h or ds")]
ScaleOption = Annotated[float, typer.Option("--scale", help="scale factor; 1 is about 1 GB")]
TargetOption = Annotated[
    str, typer.Option("--target", metavar="URL", help="embedded:, postgresql://... or duckdb:///FILE")
]

DEMO_SCALE = 0.1
DEMO_QUERIES = ("1", "6", "9", "11", "28", "30", "59", "74", "81", "88")


def _suite(name: str) -> Suite:
    if name not in SUITES:
        raise UsageError(f"there is no suite {name!r}", hint="use h or ds")
    return SUITES[name]


@contextlib.contextmanager
def _loading() -> Iterator[Tell]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=talk, transient=True) as bar:
        task = bar.add_task("loading", total=None)
        last = ""

        def tell(what: str, done: int, total: int) -> None:
            nonlocal last
            if not talk.is_terminal and what != last:
                talk.print(f"  {what}", highlight=False)
            last = what
            bar.update(task, description=f"loading {what}", completed=done, total=total or None)

        yield tell


@app.command("load")
def load_command(suite: SuiteOption = "ds", scale: ScaleOption = 1.0, target: TargetOption = "embedded:") -> None:
    """Generate the data (cached) and load it into the target, keys declared. Does nothing when it is there."""
    with fail_softly():
        _load(_suite(suite), scale, target)


@app.command("query")
def query_command(
    name: Annotated[str, typer.Argument(help="number of the query")],
    suite: SuiteOption = "ds",
    as_json: Annotated[bool, typer.Option("--json", help="print an order for the API: {sql, effort}")] = False,
) -> None:
    """Print the text of a query."""
    with fail_softly():
        texts = dict(_picked(query_texts(_suite(suite)), name))
        for text in texts.values():
            write(json.dumps({"sql": text, "effort": "quick"}) if as_json else text)


@app.command("job")
def job_command(
    folder: Annotated[Path, typer.Argument(help="folder with schema.sql, index.sql and queries/")],
    target: TargetOption = "embedded:",
) -> None:
    """Make the Join Order Benchmark's tables in a Postgres database, with invented rows."""
    with fail_softly(), _loading() as tell:
        if target.startswith("embedded:"):
            target = embedded_database(target if "?dbname=" in target else f"{target}?dbname=job")
        elif not target.startswith(("postgresql://", "postgres://")):
            raise UsageError("the tables are made in postgresql:// and embedded: targets")
        # The engine's own way in speaks of a server that does not answer without naming the password.
        with contextlib.closing(connect(target)):
            pass
        load_job(folder, target, tell)


@app.command("texts")
def texts_command(
    folder: Annotated[Path, typer.Argument(help="folder to write to; made if it is not there")],
    suite: SuiteOption = "ds",
) -> None:
    """Write a suite's queries to a folder, one file each."""
    with fail_softly():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in query_texts(_suite(suite)).items():
                (folder / f"{name}.sql").write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write to {folder}: {error.strerror}") from None


def _load(suite: Suite, scale: float, target: str) -> None:
    with _loading() as tell:
        notes = load(suite, scale, target, tell)
    for note in notes:
        talk.print(note, highlight=False)


@app.command("run")
def run_command(
    suite: SuiteOption = "ds",
    scale: ScaleOption = 1.0,
    target: TargetOption = "embedded:",
    queries: Annotated[str | None, typer.Option("--queries", help="numbers or names, separated by commas")] = None,
    workload: Annotated[Path | None, typer.Option("--workload", metavar="DIR", help="a folder of .sql files")] = None,
    peer: Annotated[str | None, typer.Option("--peer", help="race this optimizer's output as well: sqlglot")] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="seconds one run of a query may take")] = 60.0,
    compare_timeout: Annotated[
        float, typer.Option("--compare-timeout", help="seconds a query may run for the full comparison of results")
    ] = 120.0,
    effort: Annotated[
        str, typer.Option("--effort", help="quick, normal or thorough, as for rewriter rewrite")
    ] = "normal",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="results as JSON, kept up to date")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="all reports in one page")] = None,
    seed: Annotated[int, typer.Option("--seed", help="seed of the generated databases")] = 0,
) -> None:
    """Rewrite every query of a suite or folder and print one table."""
    with fail_softly():
        if peer not in (None, "sqlglot"):
            raise UsageError(f"there is no peer {peer!r}", hint="the one peer is sqlglot")
        if effort not in EFFORTS:
            raise UsageError(f"unknown effort {effort!r}", hint=f"use {', '.join(EFFORTS)}")
        chosen = _suite(suite)
        texts = workload_texts(workload) if workload is not None else query_texts(chosen)
        texts = _picked(texts, queries)
        url = target if workload is not None else target_for(chosen, scale, target)
        policy = RunPolicy(replace(EFFORTS[effort], timeout=timeout, seed=seed), compare_timeout, peer is not None)
        title = str(workload) if workload is not None else f"TPC-{suite.upper()} scale {scale:g}"
        with contextlib.closing(connect(url)) as engine:
            outcomes, reports = _run(texts, engine, policy, title, out)
        _finish(outcomes, reports, title, html)


def _picked(texts: dict[str, str], queries: str | None) -> dict[str, str]:
    if queries is None:
        return texts
    wanted = [name.strip() for name in queries.split(",") if name.strip()]
    missing = [name for name in wanted if name not in texts]
    if missing:
        raise UsageError(f"there is no query {', '.join(missing)}", hint=f"there are {', '.join(texts)}"[:200])
    return {name: texts[name] for name in wanted}


def _run(
    texts: dict[str, str], engine: Engine, policy: RunPolicy, title: str, out: Path | None
) -> tuple[list[Outcome], list[tuple[str, Report]]]:
    outcomes: list[Outcome] = []
    reports: list[tuple[str, Report]] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn())
    with (
        contextlib.closing(scratch()) as hunter,
        Progress(
            *columns, TextColumn("{task.fields[doing]}"), TimeElapsedColumn(), console=talk, transient=True
        ) as bar,
    ):
        task = bar.add_task(title, total=len(texts), doing="")

        def listener(name: str) -> Any:
            def listen(event: Event) -> None:
                bar.update(task, doing=escape(f"{name}: {event.stage}, {event.message}"))

            return listen

        for outcome, report in run(texts, engine, hunter, policy, target=title, progress=listener):
            outcomes.append(outcome)
            if report is not None:
                reports.append((f"{title}, query {outcome.query}", report))
            bar.advance(task)
            if not talk.is_terminal:
                talk.print(
                    f"  {outcome.query}: {outcome.ratio:.2f}x {', '.join(outcome.rules) or outcome.error or 'kept'}"
                )
            if out is not None:
                _save(out, engine, policy, title, outcomes)
    return outcomes, reports


def _save(out: Path, engine: Engine, policy: RunPolicy, title: str, outcomes: list[Outcome]) -> None:
    """The whole file anew after each query, put in place in one step, so that an interruption loses nothing."""
    body = {
        "title": title,
        "engine": engine.name,
        "cores": os.cpu_count(),
        "timeout": policy.pipeline.timeout,
        "seed": policy.pipeline.seed,
        "outcomes": [outcome.to_json() for outcome in outcomes],
    }
    partial = out.with_name(f"{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(body, indent=1), encoding="utf-8")
        partial.replace(out)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from None


def _finish(outcomes: list[Outcome], reports: list[tuple[str, Report]], title: str, html: Path | None) -> None:
    console = data_console()
    console.print(as_rich(outcomes, title))
    for line in summary(outcomes):
        console.print(line, highlight=False, soft_wrap=True)
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(to_html_index(reports, title), encoding="utf-8")
        talk.print(f"report: {html}", highlight=False)


@app.command("report")
def report_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="what run --out wrote")],
    markdown: Annotated[bool, typer.Option("--markdown", help="print Markdown")] = False,
) -> None:
    """Print the table of an earlier run."""
    with fail_softly():
        try:
            body = json.loads(file.read_text(encoding="utf-8"))
            outcomes = [Outcome.from_json(entry) for entry in body["outcomes"]]
        except (OSError, ValueError, KeyError, TypeError):
            raise UsageError(f"{file} is not a file that run --out wrote") from None
        title = f"{body['title']}, {body['engine']}, {body['cores']} cores, limit {body['timeout']:g} s"
        if markdown:
            print(as_markdown(outcomes, title))  # noqa: T201 - stdout is data
        else:
            _finish(outcomes, [], title, None)


@app.command("rules")
def rules_command(
    results: Annotated[
        list[Path] | None, typer.Option("--results", metavar="FILE", help="what run --out wrote; may be repeated")
    ] = None,
    job: Annotated[Path | None, typer.Option("--job", metavar="DIR", help="the Join Order Benchmark")] = None,
    labelled: Annotated[Path | None, typer.Option("--pairs", metavar="DIR", help="a folder of pair files")] = None,
    scale: ScaleOption = DEMO_SCALE,
    out: Annotated[Path, typer.Option("--out", metavar="FILE")] = Path("docs/rules.md"),
) -> None:
    """Survey the rules over TPC-H, TPC-DS and more, and write the catalogue with what each rule gained."""
    with fail_softly():
        workloads: dict[str, catalogue.Workload] = {}
        for suite in SUITES.values():
            _load(suite, scale, "embedded:")
            with contextlib.closing(connect(target_for(suite, scale, "embedded:"))) as engine:
                known = engine.catalog()
            workloads[f"TPC-{suite.name.upper()}"] = [(name, text, known) for name, text in query_texts(suite).items()]
        if job is not None:
            workloads["JOB"] = catalogue.job(job)
        if labelled is not None:
            workloads["pairs"] = catalogue.pairs(labelled)
        with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=talk, transient=True) as bar:
            task = bar.add_task("surveying", total=None)
            found = catalogue.survey(workloads, lambda what: bar.update(task, description=escape(what)))
        for file in results or ():
            catalogue.add_results(found, file)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(catalogue.as_markdown(found), encoding="utf-8")
        talk.print(f"wrote {out}", highlight=False)


@app.command("experience")
def experience_command(
    results: Annotated[list[Path], typer.Argument(metavar="FILE...", help="what run --out wrote")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE")] = Path("rewriter/candidates/experience.json"),
) -> None:
    """Sum up what single steps of the rules did in earlier runs, for searches to start from."""
    with fail_softly():
        entries = catalogue.experience(results)
        out.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
        talk.print(f"wrote {out}: {len(entries)} rules", highlight=False)


@app.command("pairs")
def pairs_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="pair files (.jsonl), or folders of them")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="verdicts, one file for each source")],
    budget: Annotated[float, typer.Option("--budget", help="seconds for one pair")] = 10.0,
    jobs: Annotated[int, typer.Option("--jobs", help="pairs at a time")] = 2,
    most: Annotated[int | None, typer.Option("--most", help="pairs of one file, at most")] = None,
) -> None:
    """Verify labelled pairs and count verdicts by source and label. Verdicts in DIR are kept; a run goes on there."""
    with fail_softly():
        lines: list[pairs.Line] = []
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn())
        out.mkdir(parents=True, exist_ok=True)
        with Progress(*columns, TimeElapsedColumn(), console=talk, transient=True) as bar:
            for path in pairs.pair_files(files):
                chosen = pairs.binding(path, most)
                task = bar.add_task(path.stem, total=len(chosen))
                told = partial(_advance, bar, task)
                results = out / path.name
                lines += pairs.judge(path, chosen, results, budget=budget, jobs=jobs, told=told)
                bar.remove_task(task)
        data_console().print(pairs.as_rich(lines))
        for line in lines:
            for name in line.against:
                data_console().print(f"against its label ({line.label}): {line.source} {name}", highlight=False)


def _advance(bar: Progress, task: TaskID, done: int) -> None:
    bar.update(task, completed=done)


@app.command("hammer")
def hammer_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="pair files (.jsonl), or folders of them")],
    databases: Annotated[int, typer.Option("--databases", help="generated databases for each proof")] = 1000,
    faults: Annotated[
        bool, typer.Option("--mutants", help="try to prove each query equal to its mutants instead of its partner")
    ] = False,
    most: Annotated[int | None, typer.Option("--most", help="pairs of one file, at most")] = None,
    seed: Annotated[int, typer.Option("--seed", help="seed of the generated databases")] = 0,
) -> None:
    """Hold proofs against generated databases. Ends with exit code 1 when one of them contradicts a proof."""
    with fail_softly():
        contradicted = False
        for path in pairs.pair_files(files):
            lines = pairs.binding(path, most)
            work: hammer.Work = hammer.near_misses(lines, seed) if faults else hammer.pairs(lines)
            with (
                contextlib.closing(scratch()) as hunter,
                Progress(SpinnerColumn(), TextColumn("{task.description}"), console=talk, transient=True) as bar,
            ):
                task = bar.add_task(path.stem, total=None)
                told = partial(_hammered, bar, task)
                blows = hammer.hammer(work, hunter, databases, seed, told)
            data_console().print(hammer.summary(path.stem, blows), highlight=False, soft_wrap=True)
            for entry in blows.contradicted:
                data_console().print(f"contradicted: {entry}", highlight=False, soft_wrap=True)
            contradicted = contradicted or bool(blows.contradicted)
        if contradicted:
            raise typer.Exit(1)


def _hammered(bar: Progress, task: TaskID, name: str, blows: hammer.Blows) -> None:
    bar.update(task, description=escape(f"{name}: {blows.attempts} attempts, {blows.proofs.total()} proofs"))


@app.command("mutants")
def mutants_command(
    suite: SuiteOption = "h",
    scale: ScaleOption = DEMO_SCALE,
    target: TargetOption = "embedded:",
    queries: Annotated[str | None, typer.Option("--queries", help="numbers or names, separated by commas")] = None,
    most: Annotated[int, typer.Option("--most", help="mutants of one query, at most")] = 60,
    lost: Annotated[bool, typer.Option("--lost", help="only, and all of, those that lost a condition")] = False,
    budget: Annotated[float, typer.Option("--budget", help="seconds for one verdict")] = 10.0,
    timeout: Annotated[float, typer.Option("--timeout", help="seconds that a query may run on the data")] = 20.0,
    seed: Annotated[int, typer.Option("--seed", help="seed of mutants and generated databases")] = 0,
) -> None:
    """Of the mutants that differ from their original on the data: how many do generated databases refute?"""
    with fail_softly():
        chosen = _suite(suite)
        texts = _picked(query_texts(chosen), queries)
        _load(chosen, scale, target)
        judged: list[mutation.Judged] = []
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn())
        with (
            contextlib.closing(connect(target_for(chosen, scale, target))) as engine,
            contextlib.closing(scratch()) as hunter,
            Progress(*columns, TimeElapsedColumn(), console=talk, transient=True) as bar,
        ):
            task = bar.add_task("mutants", total=len(texts))
            finished = 0
            with contextlib.suppress(KeyboardInterrupt):  # what is judged by then is told
                for name, text in texts.items():
                    bar.update(task, description=f"query {name}: {sum(entry.missed for entry in judged)} missed")
                    judged += (
                        mutation.judge_lost(name, text, engine, hunter, seed=seed, budget=budget, timeout=timeout)
                        if lost
                        else mutation.judge(
                            name, text, engine, hunter, seed=seed, most=most, budget=budget, timeout=timeout
                        )
                    )
                    finished += 1
                    bar.advance(task)
        title = f"{'Lost conditions' if lost else 'Mutants'} of TPC-{suite.upper()}, data of scale {scale:g}"
        title += "" if finished == len(texts) else f", interrupted after {finished} of {len(texts)} queries"
        data_console().print(mutation.as_rich({suite: judged}, title))
        for entry in judged:
            if entry.missed or (lost and not entry.refuted):
                known = "missed" if entry.missed else "the same on the data" if entry.differs is False else "not run"
                line = f"{known} ({entry.verdict}): query {entry.query}, {entry.fault}"
                data_console().print(escape(line), highlight=False, soft_wrap=True)


@app.command("logs")
def logs_command(
    lines: Annotated[
        int, typer.Option("--lines", min=1000, help="lines of the smaller file; the larger has ten times")
    ] = 100_000,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="NAMES", help=f"{', '.join(logs.WRITERS)}; default: all")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="processes that read the larger file")] = 2,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="the figures as JSON")] = None,
) -> None:
    """How fast logs of each format are read and grouped, and with how much memory."""
    with fail_softly():
        names = [name.strip() for name in format_.split(",")] if format_ else list(logs.WRITERS)
        with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=talk, transient=True) as bar:
            task = bar.add_task("logs", total=None)
            figures = logs.bench(names, lines, jobs, lambda what: bar.update(task, description=escape(what)))
        data_console().print(logs.as_table(figures))
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(logs.as_json(figures), indent=1), encoding="utf-8")


@app.command("log-mix")
def log_mix_command(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="where the server, its data and the logs go")],
    suite: SuiteOption = "h",
    scale: ScaleOption = 0.01,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="how often each statement is run")] = 5,
    queries: Annotated[
        str | None, typer.Option("--queries", help="the suite's own queries to run besides: numbers, or all")
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="seconds a statement may take")] = 20.0,
    seed: Annotated[int, typer.Option("--seed", help="seed of the parameters")] = 0,
) -> None:
    """Run a mix of statements on a Postgres of its own that logs them as stderr, csvlog and jsonlog."""
    with fail_softly():
        chosen = _suite(suite)
        texts = query_texts(chosen) if queries is not None else {}
        texts = texts if queries in (None, "all") else _picked(texts, queries)
        with _loading() as tell:
            server = log_mix.server(chosen, scale, out, tell)
        calls = log_mix.run(server, chosen, texts, rounds, timeout=timeout, seed=seed)
        for path in log_mix.collect(server, out):
            write(str(path))
        talk.print(
            f"{len(calls)} calls; rewrite them with: rewriter batch {out}/postgresql.log --target '{server.target}'",
            highlight=False,
            soft_wrap=True,
        )


@app.command("service-load")
def service_load_command(
    jobs: Annotated[int, typer.Option("--jobs", help="submissions at once", min=1)] = 200,
    soak: Annotated[float, typer.Option("--soak", help="seconds of steady work, for memory; 0: none", min=0)] = 180.0,
    workers: Annotated[int, typer.Option("--workers", help="worker processes of the service", min=1)] = 1,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="results as JSON")] = None,
) -> None:
    """Load a fresh service: lookups against an endpoint that does nothing, submissions at once, hours of work."""
    with fail_softly():
        found = service_load.measure(jobs, soak, workers, lambda what: talk.print(f"  {what}", highlight=False))
        data_console().print(*service_load.as_rich(found))
        _write(out, asdict(found))


@app.command("cluster")
def cluster_command(
    workers: Annotated[str, typer.Option("--workers", help="how many, separated by commas; the first is the base")] = (
        "1,2,4"
    ),
    jobs: Annotated[int, typer.Option("--jobs", help="verifications in each round", min=1)] = 24,
    rounds: Annotated[int, typer.Option("--rounds", min=1)] = 3,
    queue: Annotated[str, typer.Option("--queue", help="local or procrastinate")] = "procrastinate",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="results as JSON")] = None,
) -> None:
    """Have the same verifications done by one and by several workers on a store on the embedded Postgres."""
    with fail_softly():
        if not all(one.strip().isdecimal() and int(one) for one in workers.split(",")):
            raise UsageError("--workers is a list of numbers such as 1,2,4")
        counts = [int(one) for one in workers.split(",")]
        found = cluster.measure(counts, jobs, rounds, queue, lambda what: talk.print(f"  {what}", highlight=False))
        data_console().print(cluster.as_rich(found))
        _write(out, found)


def _write(out: Path | None, found: Any) -> None:
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


@app.command("demo")
def demo_command(
    html: Annotated[Path, typer.Option("--html", metavar="FILE")] = Path("out/demo.html"),
    scale: ScaleOption = DEMO_SCALE,
) -> None:
    """Load a small TPC-DS into the embedded Postgres and rewrite some of its slow queries."""
    with fail_softly():
        suite = SUITES["ds"]
        _load(suite, scale, "embedded:")
        texts = _picked(query_texts(suite), ",".join(DEMO_QUERIES))
        pipeline = Policy(
            timeout=20.0, search_seconds=4.0, candidates=24, verify_seconds=2.0, race_seconds=2.0, racers=5
        )
        title = f"TPC-DS scale {scale:g} on the embedded Postgres"
        with contextlib.closing(connect(target_for(suite, scale, "embedded:"))) as engine:
            outcomes, reports = _run(texts, engine, RunPolicy(pipeline, compare_timeout=60.0), title, None)
        _finish(outcomes, reports, title, html)


if __name__ == "__main__":
    app()
