"""``rewriter batch``: from query logs to a ranked list, and to verified rewrites of what took the most time."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from rewriter.batch.ignoring import ignored_keys
from rewriter.batch.logs import Options, Position, gather, positions
from rewriter.batch.reporting import DEFAULT, FORMATS, BatchModel, Run, print_talk, print_terminal, record_of
from rewriter.batch.reporting.conditions import check_conditions, met
from rewriter.batch.reporting.words import flat
from rewriter.batch.work import KNOWN, Done, Item, items, work
from rewriter.candidates import CandidateSource, default_sources
from rewriter.cli_llm import (
    BaseUrlOption,
    ModelOption,
    ModeOption,
    StrategyOption,
    purse_of,
    settings_with,
    sources_for,
)
from rewriter.cli_support import (
    EXIT_CONDITION,
    data_console,
    fail_softly,
    keep_experience,
    known_experience,
    progress_bar,
    stored_rules,
    talk,
    write,
)
from rewriter.engines import connect, without_credentials
from rewriter.errors import RewriterError, UsageError
from rewriter.pipeline import EFFORTS, Policy
from rewriter.records import Event
from rewriter.report.units import ratio
from rewriter.settings import Settings
from rewriter.store import Store

POSITIONS = "positions.json"  # in the folder of the reports


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
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="KEY|FILE", help="a group to leave out, or a list of them")
    ] = None,
    since_last: Annotated[
        bool, typer.Option("--since-last", help="read on where the last complete run with the same --out ended")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="write reports there; - for one format on stdout")
    ] = None,
    formats: Annotated[
        str | None,
        typer.Option("--format", metavar="NAMES", help=f"{', '.join(FORMATS)}; default: {','.join(DEFAULT)}"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON on stdout")] = False,
    fail_on: Annotated[
        str | None, typer.Option("--fail-on", metavar="NAMES", help="exit with 1 on: faster, failed, malformed")
    ] = None,
    fail_ratio: Annotated[
        float, typer.Option("--fail-ratio", min=1.0, help="how much faster a rewrite must be for --fail-on faster")
    ] = 1.0,
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
        conditions = _names(fail_on)
        check_conditions(conditions)
        output = _Output.of(out, _names(formats), as_json)
        ignored = ignored_keys(ignore or ())
        before = _positions(output.folder) if since_last else []
        with progress_bar("reading") as progress:
            progress(Event("read", f"{len(logs)} paths"))
            gathered = gather(
                logs,
                dialect,
                Options(prefix=prefix, dialect=dialect),
                jobs=jobs,
                positions=before,
                grows=since_last,
                ignore=ignored,
            )
        work_done = _Work()
        failure: BaseException | None = None
        todo = items(gathered.groups, top) if target is not None else []
        try:
            if target is not None:
                settings = settings_with(model, base_url)
                policy = replace(EFFORTS[effort], timeout=timeout)
                with sources_for(settings, strategy, answers) as asked:
                    work_done.run(todo, target, policy, asked, settings)
        except (KeyboardInterrupt, RewriterError) as error:
            failure = error  # what is done by then is told first
        run = Run(
            target=without_credentials(target) if target is not None else None,
            new_part_only=bool(before),
            interrupted=failure is not None,
            waiting=len(todo) - len(work_done.done),
            ignored=ignored,
            spent=work_done.spent,
            documents=work_done.documents,
        )
        batch = record_of(gathered, work_done.done, top, run)
        output.tell(batch)
        if failure is not None:
            if work_done.done:
                talk.print(f"{len(work_done.done)} of {len(todo)} groups are done and kept", highlight=False)
            talk.print("run the same command again to go on there", highlight=False)
            raise failure
        if since_last and output.folder is not None:
            positions.save(output.folder / POSITIONS, before, gathered.positions)
        if reasons := met(batch, conditions, fail_ratio):
            talk.print(f"failed, as asked for: {'; '.join(reasons)}", highlight=False)
            sys.exit(EXIT_CONDITION)


def _names(listed: str | None) -> list[str]:
    return [name.strip() for name in (listed or "").split(",") if name.strip()]


def _positions(folder: Path | None) -> list[Position]:
    if folder is None:
        raise UsageError("--since-last needs --out DIR", hint=f"where a run ended is kept there, in {POSITIONS}")
    return positions.load(folder / POSITIONS)


@dataclass(frozen=True)
class _Output:
    """Where the reports go: ``formats`` into ``folder``, and one of them to stdout in place of the table."""

    folder: Path | None
    formats: Sequence[str]
    printed: str | None

    @classmethod
    def of(cls, out: Path | None, formats: Sequence[str], as_json: bool) -> _Output:
        for name in formats:
            if name not in FORMATS:
                raise UsageError(f"there is no format {name!r}", hint=f"use {', '.join(FORMATS)}")
        if out is not None and str(out) != "-":
            return cls(out, formats or DEFAULT, "json" if as_json else None)
        wanted = ["json"] if as_json and not formats else formats
        if len(wanted) > 1 or (out is not None and not wanted):
            raise UsageError("one format fits on stdout", hint="name one with --format, or a folder with --out DIR")
        return cls(None, (), wanted[0] if wanted else None)

    def tell(self, batch: BatchModel) -> None:
        """Write and print. Raises UsageError when the folder cannot be written to."""
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                for name in self.formats:
                    format_ = FORMATS[name]
                    text = format_.text(batch)
                    (self.folder / format_.file).write_text(text, "utf-8", "backslashreplace", newline="")
            except OSError as error:
                raise UsageError(f"cannot write {self.folder}: {error.strerror}") from None
        if self.printed is not None:
            if text := FORMATS[self.printed].text(batch):
                write(text)
        else:
            print_terminal(batch, data_console())
        print_talk(batch, talk)


@dataclass
class _Work:
    """What is done so far: results, stored reports by id, and the dollars that a model has cost (None: no model)."""

    done: list[Done] = field(default_factory=list)
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    spent: float | None = None

    def run(
        self, todo: Sequence[Item], target: str, policy: Policy, asked: Sequence[CandidateSource], settings: Settings
    ) -> None:
        """Rewrite the items; what is learnt on one orders what is tried on the next."""
        experience = known_experience()
        purse = purse_of(asked)
        with (
            contextlib.closing(connect(target)) as engine,
            contextlib.closing(Store(settings.store_url)) as store,
            progress_bar("rewriting") as progress,
        ):
            try:
                for one in work(
                    todo,
                    engine,
                    store,
                    policy=policy,
                    sources=(*default_sources(experience, stored_rules()), *asked),
                    target=without_credentials(target),
                    progress=lambda event: progress(
                        replace(event, message=f"{event.message}; {self._so_far(len(todo))}")
                    ),
                ):
                    self._take(one, store.rewrite, len(todo))
                    self.spent = purse.cost if purse is not None else None
            finally:
                self.spent = purse.cost if purse is not None else None
                keep_experience(store, experience)

    def _take(self, one: Done, document: Callable[[str], dict[str, Any] | None], total: int) -> None:
        if one.rewrite is not None and (found := document(one.rewrite)) is not None:
            self.documents[one.rewrite] = found
        self.done.append(one)
        if not talk.is_terminal:
            known = " (known)" if one.outcome == KNOWN else ""
            told = (
                f"{ratio(one.ratio)} faster, {one.verdict}" if one.sql is not None else f"{one.outcome}: {one.reason}"
            )
            line = f"{len(self.done)}/{total} group {one.item.key}: {flat(told, 150)}{known}"
            talk.print(Text(line), soft_wrap=True)

    def _so_far(self, total: int) -> str:
        counts = Counter(one.outcome for one in self.done)
        parts = [f"{number} {outcome}" for outcome, number in sorted(counts.items())]
        parts.append(f"{total - len(self.done)} to do")
        if self.spent is not None:
            parts.append(f"${self.spent:.4f} spent")
        return ", ".join(parts)
