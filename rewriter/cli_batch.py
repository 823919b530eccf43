"""``rewriter batch``: from query logs to a ranked list, and to verified rewrites of what took the most time."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from rewriter.batch.logs import Gathered, Options, gather
from rewriter.batch.summary import as_data, as_markdown, as_patch
from rewriter.batch.work import Done, Item, items, work
from rewriter.candidates import CandidateSource, default_sources
from rewriter.cli_llm import BaseUrlOption, ModelOption, ModeOption, StrategyOption, settings_with, sources_for
from rewriter.cli_support import (
    data_console,
    fail_softly,
    keep_experience,
    known_experience,
    progress_bar,
    stored_rules,
    talk,
    write_json,
)
from rewriter.engines import connect, without_credentials
from rewriter.errors import UsageError
from rewriter.pipeline import EFFORTS, Policy
from rewriter.records import Event
from rewriter.report.text import visible
from rewriter.report.units import duration, ratio
from rewriter.settings import Settings
from rewriter.store import Store


def batch_command(
    logs: Annotated[list[Path], typer.Argument(help="log files or folders, plain or compressed, of any known format")],
    target: Annotated[
        str | None, typer.Option("--target", metavar="URL", help="rewrite for this database; without: rank only")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="groups to show, and to work on")] = 20,
    effort: Annotated[str, typer.Option("--effort", help="quick, normal or thorough")] = "quick",
    timeout: Annotated[float, typer.Option("--timeout", help="seconds one run of a query may take")] = 60.0,
    prefix: Annotated[
        str | None, typer.Option("--prefix", help="the log_line_prefix of Postgres; default: guessed")
    ] = None,
    dialect: Annotated[str, typer.Option("--dialect", help="postgres, duckdb or mysql, of the logs")] = "postgres",
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="processes that read; default: all cores")] = None,
    ignore: Annotated[list[str] | None, typer.Option("--ignore", metavar="KEY", help="a group to leave out")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="write batch.json, batch.md and rewrites.sql there")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON on stdout")] = False,
    model: ModelOption = None,
    base_url: BaseUrlOption = None,
    strategy: StrategyOption = None,
    answers: ModeOption = "cache",
) -> None:
    """Read query logs, group and rank their statements, and rewrite those that took the most time.

    Every result is in the store at once: interrupt a run and start it again, and it goes on where it was.
    """
    with fail_softly():
        if effort not in EFFORTS:
            raise UsageError(f"unknown effort {effort!r}", hint=f"use {', '.join(EFFORTS)}")
        with progress_bar("reading") as progress:
            progress(Event("read", f"{len(logs)} paths"))
            gathered = gather(logs, dialect, Options(prefix=prefix, dialect=dialect), jobs=jobs, ignore=ignore or ())
        done: list[Done] = []
        try:
            if target is not None:
                settings = settings_with(model, base_url)
                policy = replace(EFFORTS[effort], timeout=timeout)
                with sources_for(settings, strategy, answers) as asked:
                    _work(items(gathered.groups, top), target, policy, asked, settings, done)
        finally:
            # An interruption loses nothing: what is done is told, and in the store.
            _tell(gathered, done, top, out, as_json=as_json)


def _work(
    todo: Sequence[Item],
    target: str,
    policy: Policy,
    asked: Sequence[CandidateSource],
    settings: Settings,
    done: list[Done],
) -> None:
    """Rewrite the items; what is learnt on one orders what is tried on the next."""
    experience = known_experience()
    with (
        contextlib.closing(connect(target)) as engine,
        contextlib.closing(Store(settings.store_url)) as store,
        progress_bar("rewriting") as progress,
    ):
        results = work(
            todo,
            engine,
            store,
            policy=policy,
            sources=(*default_sources(experience, stored_rules()), *asked),
            target=without_credentials(target),
            progress=lambda event: progress(replace(event, message=f"{event.message}; {_counts(done)}")),
        )
        try:
            done.extend(results)  # one by one, as they come: an interruption keeps those before it
        finally:
            keep_experience(store, experience)


def _counts(done: Sequence[Done]) -> str:
    counts = Counter(one.outcome for one in done)
    return ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items())) or "none done"


def _tell(gathered: Gathered, done: Sequence[Done], top: int, out: Path | None, *, as_json: bool) -> None:
    data = as_data(gathered, done, top)
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            (out / "batch.json").write_text(json.dumps(data, indent=1, ensure_ascii=False), "utf-8", "backslashreplace")
            (out / "batch.md").write_text(as_markdown(data), "utf-8", "backslashreplace")
            (out / "rewrites.sql").write_text(as_patch(done), "utf-8", "backslashreplace")
        except OSError as error:
            raise UsageError(f"cannot write {out}: {error.strerror}") from None
    if as_json:
        write_json(data)
        return
    table = Table("time", "calls", "p95", "outcome", "statement", title=f"{data['entries']:,} statements in the log")
    for group in data["groups"]:
        result = group["result"]
        said = "-" if result is None else result["outcome"]
        if result is not None and result["ratio"]:
            said = f"{ratio(result['ratio'])} faster, {result['verdict']}"
        text = " ".join(visible(group["statement"] or "(unknown)").split())
        cells = (duration(group["seconds"]), f"{group['calls']:,}", duration(group["p95"]), said, text[:80])
        table.add_row(*map(escape, cells))
    data_console().print(table)
    skipped = sum(data["skipped"].values())
    talk.print(f"{data['lines']:,} lines read, {skipped:,} without an entry", highlight=False)
    for name, why in data["damaged"].items():
        talk.print(f"[yellow]{escape(visible(name))}:[/] {escape(visible(why))}", highlight=False)
    if done:
        talk.print(f"{_counts(done)}; {duration(data['saved_seconds'])} of the log saved", highlight=False)
