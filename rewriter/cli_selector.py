"""``rewriter llm selector``: the learned choice of the demonstration that a model is shown."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from rewriter.candidates.model.selector import body_of, read_selector
from rewriter.cli_support import data_console, fail_softly, progress_bar, read_text, talk, write_json
from rewriter.engines import connect
from rewriter.errors import UsageError
from rewriter.learning.collecting import Spending, collect
from rewriter.learning.evaluating import (
    LEARNED,
    METHODS,
    RANDOM,
    STRUCTURAL,
    Estimate,
    Evaluation,
    Outcome,
    Outcomes,
    cross_validated,
    evaluated,
)
from rewriter.learning.samples import read_samples
from rewriter.learning.training import Recipe, train
from rewriter.records import Event

selector_app = typer.Typer(
    help="Learn which earlier rewrite to show a model beside a query (strategy llm_r2).", no_args_is_help=True
)


@selector_app.command("collect")
def collect_command(
    workload: Annotated[Path, typer.Argument(help="folder of .sql files; 14a.sql and 14b.sql are of one template")],
    target: Annotated[str, typer.Option("--target", metavar="URL", help="the database to measure on")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="samples are added here, one JSON object a line")],
    name: Annotated[
        str | None, typer.Option("--name", help="of the target in the samples; default: the folder's name")
    ] = None,
    search: Annotated[
        float, typer.Option("--search", min=0, help="seconds to search rules for one query; 0: try what is known")
    ] = 8.0,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="seconds one run of a query may take")] = 10.0,
    race: Annotated[float, typer.Option("--race", min=1, help="seconds of repeated runs of one query's forms")] = 4.0,
) -> None:
    """Measure what rule sequences do to the queries of a folder, and write samples to learn from.

    A search finds sequences for each query; then each is tried on every other query. An interrupted run goes on where
    it was. Several workloads and targets may share one file: run each a second time to try the later ones' sequences.
    """
    with fail_softly():
        texts = {path.stem: read_text(path, "the query") for path in sorted(workload.glob("*.sql"))}
        if not texts:
            raise UsageError(f"there is no .sql file in {workload}")
        with (
            contextlib.closing(connect(target)) as engine,
            contextlib.closing(connect("duckdb://:memory:")) as hunter,
            progress_bar("collecting") as progress,
        ):
            spending = Spending(search=search, timeout=timeout, race=race)
            folder = workload.resolve().name
            known = collect(texts, folder, engine, hunter, name or folder, out, spending, progress)
        talk.print(f"{out}: {len(known.samples)} samples, {len(known.sequences)} rule sequences", highlight=False)


FilesArgument = Annotated[list[Path], typer.Argument(help="files of samples")]
SeedOption = Annotated[int, typer.Option("--seed", help="of weights, folds and intervals")]


@selector_app.command("train")
def train_command(
    files: FilesArgument,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="the model, as JSON")],
    seed: SeedOption = 0,
) -> None:
    """Train a selector on samples and save it. Needs torch (the extra ``learn``); using the model does not."""
    with fail_softly():
        samples = list(read_samples(files).samples.values())

        def told(stage: int, queries: int, loss: float) -> None:
            talk.print(f"stage {stage}: {queries} queries, mean loss {loss:.4f}", highlight=False)

        members = train(samples, Recipe(seed=seed), told)
        body = body_of(members, {sample.template for sample in samples})
        try:
            out.write_text(json.dumps(body, separators=(",", ":")) + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {out}: {error.strerror}") from None
        talk.print(f"{out}: {len(members)} members, {out.stat().st_size:,} bytes", highlight=False)


@selector_app.command("evaluate")
def evaluate_command(
    files: FilesArgument,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="FILE", help="a saved model, on templates it was not trained on"),
    ] = None,
    folds: Annotated[int, typer.Option("--folds", min=2, help="parts the templates are dealt into")] = 10,
    seed: SeedOption = 0,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Compare ways to choose a demonstration on queries whose templates the selector has not seen.

    Without --model a selector is trained for each fold on the other folds' templates. What counts is the chosen
    demonstration's rules applied to the query, as the engine measured it.
    """
    with fail_softly():
        samples = list(read_samples(files).samples.values())
        with progress_bar("evaluating") as progress:
            if model is not None:
                selector = read_selector(model)
                done = evaluated(samples, selector, selector.templates, seed)
            else:

                def told(done: int, total: int) -> None:
                    progress(Event("fold", f"{done + 1} of {total}", done, total))

                done = cross_validated(samples, Recipe(seed=seed), folds=folds, told=told)
        if as_json:
            write_json(_data(done))
        else:
            _show(done)


_MEASURES: Sequence[tuple[str, Callable[[str], Callable[[Outcome], float]]]] = (
    ("log2_speedup", lambda method: lambda one: one.gains[method]),
    ("helped", lambda method: lambda one: one.helped[method]),
    ("regret", lambda method: lambda one: one.regret(method)),
)


def _data(done: Evaluation) -> dict[str, Any]:
    """All figures as plain data; intervals are of 95 percent."""

    def part(outcomes: Outcomes) -> dict[str, Any]:
        def difference(value: Callable[[str], Callable[[Outcome], float]], base: str) -> Estimate:
            learned, other = value(LEARNED), value(base)
            return done.estimate(outcomes, lambda one: learned(one) - other(one))

        return {
            "queries": len(outcomes),
            "templates": len({one.template for one in outcomes}),
            "methods": {
                method: {name: asdict(done.estimate(outcomes, value(method))) for name, value in _MEASURES}
                for method in METHODS
            },
            "learned_less": {
                base: {name: asdict(difference(value, base)) for name, value in _MEASURES}
                for base in (RANDOM, STRUCTURAL)
            },
        }

    return {
        "seed": done.seed,
        "folds": [sorted(fold) for fold in done.folds],
        "all": part(done.outcomes),
        "improvable": part(done.improvable),
        "outcomes": [asdict(one) for one in done.outcomes],
    }


def _show(done: Evaluation) -> None:
    console = data_console()
    for title, outcomes in (("all", done.outcomes), ("that some demonstration helps", done.improvable)):
        templates = len({one.template for one in outcomes})
        table = Table(title=f"{len(outcomes)} held-out queries of {templates} templates: {title}", title_justify="left")
        for heading in ("chosen by", "mean speedup", "made 1.2x faster", "mean regret"):
            table.add_column(heading, justify="left" if heading == "chosen by" else "right", no_wrap=True)
        for method in METHODS:
            speed, helped, regret = (done.estimate(outcomes, value(method)) for _, value in _MEASURES)
            table.add_row(method, _times(speed), _share(helped), _times(regret))
        console.print(table)
        for base in (RANDOM, STRUCTURAL):
            better = done.estimate(outcomes, lambda one, base=base: one.gains[LEARNED] - one.gains[base])  # type: ignore[misc]
            more = done.estimate(outcomes, lambda one, base=base: one.helped[LEARNED] - one.helped[base])  # type: ignore[misc]
            console.print(f"learned against {base}: {_times(better)} faster, {_share(more)} more queries helped")
        console.print()
    console.print("Means are geometric; in brackets the 95 percent interval, by bootstrap over templates.")


def _times(value: Estimate) -> str:
    return f"{2**value.mean:.2f}x [{2**value.low:.2f}, {2**value.high:.2f}]"


def _share(value: Estimate) -> str:
    return f"{100 * value.mean:.0f}% [{100 * value.low:.0f}, {100 * value.high:.0f}]"
