"""What every command needs: talk on stderr, errors without tracebacks, statements from anywhere, a progress bar."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from rewriter.candidates import Experience, Record, packaged
from rewriter.errors import RewriterError, StoreError, UsageError
from rewriter.records import Event, Row, quiet
from rewriter.records import Progress as Listener
from rewriter.repository import Repository
from rewriter.settings import Settings
from rewriter.store import Store
from rules.rulefile import RuleDocument

EXIT_REFUTED = 1
EXIT_CONDITION = 1  # what --fail-on names has happened
EXIT_UNKNOWN = 6
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130

talk = Console(stderr=True)
WIDE = 180  # columns, where output goes to a file or a pipe and nobody's window says otherwise


def data_console() -> Console:
    """A console on stdout; wide enough for tables when it is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDE)


@contextlib.contextmanager
def fail_softly() -> Iterator[None]:
    """Turn every failure into one message on stderr and an exit code; ``REWRITER_DEBUG=1`` shows tracebacks."""
    try:
        yield
    except RewriterError as error:
        show_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        talk.print("interrupted", style="yellow")
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output went away (``| head``); keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if os.environ.get("REWRITER_DEBUG"):
            raise
        talk.print(f"[bold red]internal error:[/] {escape(type(error).__name__)}", highlight=False)
        talk.print("[bold]hint:[/] run again with REWRITER_DEBUG=1 and report what it prints", highlight=False)
        sys.exit(EXIT_INTERNAL)


def show_error(error: RewriterError) -> None:
    talk.print(f"[bold red]error:[/] {escape(error.message)}", highlight=False, soft_wrap=True)
    if error.hint:
        talk.print(f"[bold]hint:[/] {escape(error.hint)}", highlight=False, soft_wrap=True)


def read_text(path: Path, what: str) -> str:
    """The text of a file. Raises UsageError naming the file."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {what} {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{what} {path} is not UTF-8 text") from None


def replayed(text: str) -> tuple[str, str, str, int]:
    """Of a report as JSON: original, chosen candidate, kind of verdict, seed. Raises UsageError."""
    try:
        body = json.loads(text)
        verdict = body["verdict"]
        return str(body["original"]), str(body["chosen"]["sql"]), str(verdict["kind"]), int(verdict["seed"])
    except (ValueError, KeyError, TypeError):
        hint = "give what rewriter rewrite --json printed for a query that was rewritten"
        raise UsageError("this is no report with a chosen rewrite and its verdict", hint=hint) from None


def read_parameter_sets(given: Sequence[str]) -> list[Row]:
    """Sets of parameter values, each a JSON array: given as such, or by the lines of files. Raises UsageError."""
    sets: list[Row] = []
    for one in given:
        inline = one.lstrip().startswith("[")
        text = one if inline else read_text(Path(one), "the parameters")
        for number, line in enumerate([one] if inline else text.splitlines(), start=1):
            if not line.strip():
                continue
            try:
                values = json.loads(line, parse_float=Decimal)
            except ValueError:
                values = None
            # The message holds no values: they are the user's data.
            if not isinstance(values, list) or any(isinstance(value, (list, dict)) for value in values):
                where = "" if inline else f" in line {number} of {one}"
                raise UsageError(
                    f"--parameters needs a JSON array of plain values{where}", hint="such as '[\"2024-01-01\", 7]'"
                )
            sets.append(tuple(values))
    return sets


def read_statement(given: str | None) -> str:
    """The statement from an argument, a file named by the argument, or stdin (``-`` or nothing given)."""
    if given is None or given == "-":
        if given is None and sys.stdin.isatty():
            raise UsageError("no statement given", hint="pass a file, the SQL text itself, or pipe it to stdin")
        try:
            return sys.stdin.read()
        except UnicodeDecodeError:
            raise UsageError("the statement on stdin is not UTF-8 text") from None
    # A statement has blanks, a path to it rarely does; only an existing file is taken as one.
    with contextlib.suppress(OSError, ValueError):
        if Path(given).is_file():
            return read_text(Path(given), "the statement")
    if given.endswith(".sql") and " " not in given:
        raise UsageError(f"there is no file {given}")
    return given


@contextlib.contextmanager
def progress_bar(description: str) -> Iterator[Listener]:
    """A listener that draws progress on stderr when that is a terminal, and says nothing otherwise."""
    if not talk.is_terminal:
        yield quiet
        return
    columns = (
        SpinnerColumn(),
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[message]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=talk, transient=True) as bar:
        task = bar.add_task(description, total=None, message="")

        def listen(event: Event) -> None:
            bar.update(
                task,
                description=event.stage,
                message=escape(event.message),
                completed=event.done,
                total=event.total or None,
            )

        yield listen


def write(text: str) -> None:
    """Print text on stdout as it is."""
    # A statement may hold a lone surrogate, which is no UTF-8; it is shown escaped.
    shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
    sys.stdout.write(shown if shown.endswith("\n") else shown + "\n")


def write_json(body: Any) -> None:
    """Print data as JSON on stdout."""
    write(json.dumps(body, indent=2, ensure_ascii=False))


def known_experience() -> Experience:
    """What earlier searches have left in the store; nothing when it cannot be read, for it only orders the search."""
    try:
        with contextlib.closing(Store(Settings.load().store_url)) as store:
            own = {key: Record(*numbers) for key, numbers in store.rule_trials().items()}
            return Experience({**packaged(), **own})
    except StoreError:
        return Experience()


def stored_rules() -> tuple[RuleDocument, ...]:
    """The approved rules of the store; none when it cannot be read, for a rewrite does not depend on it."""
    try:
        with contextlib.closing(Store(Settings.load().store_url)) as store:
            return Repository(store).executable()
    except StoreError:
        return ()


def keep_experience(store: Store, experience: Experience) -> None:
    """Add what a search has learnt to the store. Raises StoreError."""
    store.add_rule_trials({key: (it.trials, it.wins, it.gained) for key, it in experience.fresh.items()})
