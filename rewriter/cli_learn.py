"""``rewriter rules learn``: pattern rules from accepted rewrites."""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from rewriter.cli_support import data_console, fail_softly, progress_bar, read_text, talk, write_json
from rewriter.distill import Outcome, Pair, learn
from rewriter.distill.reading import listed, recorded
from rewriter.engines import connect, scratch, without_credentials
from rewriter.errors import UsageError
from rewriter.report.units import ratio
from rewriter.repository import Repository
from rewriter.settings import Settings
from rewriter.store import Store
from rules.discovery import executable
from rules.rulefile import DIALECTS


def learn_command(
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", metavar="FILE", help="JSON lines of {before, after, schema} instead of the store"),
    ] = None,
    from_store: Annotated[
        bool, typer.Option("--from-store", help="the accepted rewrites of the store (the default)")
    ] = False,
    target: Annotated[
        str | None, typer.Option("--target", "-t", metavar="URL", help="whose rewrites; default: REWRITER_TARGET")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="how many of the store's, newest first")] = 100,
    approve: Annotated[
        bool, typer.Option("--approve", help="apply what passes every check from now on, without asking a person")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON on stdout")] = False,
) -> None:
    """Generalise accepted rewrites to pattern rules, check them, and keep them as drafts.

    Without --pairs the rewrites of one target are read from the store; its schema is read, and nothing is run on it.
    """
    with fail_softly():
        if pairs is not None and (from_store or target is not None):
            raise UsageError("--pairs goes without --from-store and --target")
        settings = Settings.load()
        with contextlib.closing(Store(settings.store_url)) as store:
            read = list(listed(read_text(pairs, "the pairs"))) if pairs is not None else _recorded(store, target, limit)
            repository = Repository(store)
            outcomes = [it for it in read if isinstance(it, Outcome)]
            outcomes += _learnt([it for it in read if isinstance(it, Pair)], repository)
            kept = repository.keep(outcomes, approve=approve, by=user())
        if as_json:
            write_json([_to_json(outcome) for outcome in outcomes])
            return
        _print(outcomes)
        if kept:
            said = "they are applied from now on" if approve else "drafts: rewriter rules approve NAME applies one"
            talk.print(f"{len(kept)} kept; {said}", highlight=False)


def _recorded(store: Store, target: str | None, limit: int) -> list[Pair | Outcome]:
    url = target or Settings.load().target_url
    if url is None:
        raise UsageError("no target", hint="pass --target URL or set REWRITER_TARGET: its schema is needed")
    with contextlib.closing(connect(url)) as engine:
        catalog = engine.catalog()
    return list(recorded(store.accepted(limit, target=without_credentials(url)), catalog))


def _learnt(pairs: Sequence[Pair], repository: Repository) -> list[Outcome]:
    known = {it.name: it for dialect in DIALECTS for it in executable(dialect)}
    documents = (*known.values(), *repository.executable())
    taken = {it.name for it in repository.all()}
    with contextlib.closing(scratch()) as hunter, progress_bar("learning") as progress:
        return list(learn(pairs, hunter, documents, taken, progress))


def user() -> str:
    """Who works here, as far as the system tells."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def _print(outcomes: Iterable[Outcome]) -> None:
    table = Table("rule", "pairs", "gain", "tried on, or why there is none")
    for outcome in outcomes:
        name = outcome.document.name if outcome.document is not None else "-"
        found = outcome.detail if outcome.refused is None else f"{outcome.refused.value}: {outcome.detail}"
        table.add_row(
            Text(name), str(outcome.pairs), ratio(outcome.ratio) if outcome.ratio is not None else "-", Text(found)
        )
    data_console().print(table)


def _to_json(outcome: Outcome) -> dict[str, Any]:
    document = outcome.document
    return {
        "rule": document.name if document is not None else None,
        "pairs": outcome.pairs,
        "origins": list(outcome.origins),
        "ratio": outcome.ratio,
        "refused": outcome.refused.name.lower() if outcome.refused is not None else None,
        "detail": outcome.detail,
        "counterexample": outcome.script,
        "document": document.text if document is not None else None,
    }
