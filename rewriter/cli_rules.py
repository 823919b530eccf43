"""``rewriter rules``: read the catalogue, and check a rule document."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from rewriter.cli_learn import learn_command, user
from rewriter.cli_support import EXIT_REFUTED, data_console, fail_softly, read_text, write, write_json
from rewriter.distill.document import document_path
from rewriter.engines import scratch
from rewriter.errors import UsageError
from rewriter.repository import ORIGINS, STATUSES, Listed, Repository, kind
from rewriter.rulecheck import Finding, check_rule
from rewriter.settings import Settings
from rewriter.store import Store
from rules.discovery import discover
from rules.rulefile import RuleDocument, read_rule

rules_app = typer.Typer(help="Read the catalogue of rewrite rules, and check rule documents.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="print JSON on stdout")]


@rules_app.command("list")
def rules_list(
    everything: Annotated[bool, typer.Option("--all", help="those of the store as well")] = False,
    origin: Annotated[str | None, typer.Option("--origin", help=f"one of {', '.join(ORIGINS)}")] = None,
    status: Annotated[str | None, typer.Option("--status", help=f"one of {', '.join(STATUSES)}")] = None,
    search: Annotated[str | None, typer.Option("--search", metavar="WORDS", help="the most alike first")] = None,
    as_json: JsonOption = False,
) -> None:
    """The rules of the catalogue: name, status, whether the machine can run it, and what it says.

    With --all, --origin, --status or --search those of the store are among them, with what they gained.
    """
    with fail_softly():
        if everything or origin or status or search:
            with _repository() as repository:
                _list(repository.all(search=search, origin=origin, status=status), as_json=as_json)
            return
        documents = discover()
        if as_json:
            write_json([_to_json(document) for document in documents])
            return
        table = Table("rule", "status", "kind", "what it does", show_lines=False)
        for document in documents:
            table.add_row(document.name, document.status, kind(document), document.summary)
        data_console().print(table)


def _list(rules: Sequence[Listed], *, as_json: bool) -> None:
    if as_json:
        write_json([asdict(rule) for rule in rules])
        return
    table = Table("rule", "origin", "status", "kind", "uses", "wins", "what it does")
    for rule in rules:
        standing = rule.status if rule.enabled else f"{rule.status}, off"
        cells = (rule.name, rule.origin, standing, rule.kind, str(rule.uses), str(rule.wins), rule.text)
        table.add_row(*map(Text, cells))
    data_console().print(table)


@rules_app.command("show")
def rules_show(name: str) -> None:
    """One rule's document."""
    with fail_softly():
        document = _named(name)
        console = data_console()
        if console.is_terminal:
            console.print(Markdown(document.text))
        else:
            write(document.text)


@rules_app.command("check")
def rules_check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a rule document anywhere, or the name of a rule")],
    as_json: JsonOption = False,
) -> None:
    """Run everything on a rule document that the tests run: its pairs through the verifier, its cases through the rule.

    A rule of the store is held against generated schemas and queries as well. Exit code 1 when something is missing or
    wrong; then each finding names the line, and a refuted pair comes with its counterexample.
    """
    with fail_softly():
        document = read_rule(Path(file)) if Path(file).is_file() else _named(file)
        with contextlib.closing(scratch()) as hunter:
            if document.path == document_path(document.name):
                with _repository() as repository:
                    findings = repository.check(document.name, hunter, by=user())
            else:
                findings = list(check_rule(document, hunter))
        _found(document, findings, as_json=as_json)


@rules_app.command("add")
def rules_add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a rule document: advice, or with a Pattern section")],
    name: Annotated[
        str | None, typer.Option("--name", metavar="FAMILY/NAME", help="default: own/ and the file's name")
    ] = None,
    edit: Annotated[bool, typer.Option("--edit", help="put it in the place of the rule of that name")] = False,
) -> None:
    """Keep a rule document in the store, as a draft."""
    with fail_softly(), _repository() as repository:
        text, called = read_text(file, "the document"), name or file.stem
        if edit:
            document = repository.edit(called, text, by=user())
        else:
            document = repository.add(called, text, by=user())
        write(f"{document.name}: draft")


@rules_app.command("approve")
def rules_approve(name: str, as_json: JsonOption = False) -> None:
    """Run all checks on a rule of the store, and apply it from now on when they pass. Exit code 1 when one fails."""
    with fail_softly(), _repository() as repository:
        document = repository.document(name)
        with contextlib.closing(scratch()) as hunter:
            findings = repository.approve(document.name, hunter, by=user())
        _found(document, findings, as_json=as_json)


@rules_app.command("reject")
def rules_reject(name: str, reason: Annotated[str, typer.Option("--reason", help="why, for the record")]) -> None:
    """Never apply a rule of the store, nor show it to a model."""
    with fail_softly(), _repository() as repository:
        repository.reject(name, reason, by=user())
        write(f"{name}: rejected")


@rules_app.command("retire")
def rules_retire(name: str, reason: Annotated[str, typer.Option("--reason", help="why, for the record")] = "") -> None:
    """Apply a rule of the store no longer."""
    with fail_softly(), _repository() as repository:
        repository.retire(name, reason, by=user())
        write(f"{name}: retired")


rules_app.command("learn")(learn_command)


@contextlib.contextmanager
def _repository() -> Iterator[Repository]:
    with contextlib.closing(Store(Settings.load().store_url)) as store:
        yield Repository(store)


def _found(document: RuleDocument, findings: Sequence[Finding], *, as_json: bool) -> None:
    failed = [finding for finding in findings if not finding.ok]
    if as_json:
        write_json({"rule": document.name, "ok": not failed, "findings": [asdict(finding) for finding in findings]})
    else:
        _print(document, findings)
    if failed:
        sys.exit(EXIT_REFUTED)


def _print(document: RuleDocument, findings: Sequence[Finding]) -> None:
    table = Table(
        "line", "check", "", "what was found", title=f"{document.name} ({kind(document)})", title_justify="left"
    )
    table.columns[0].justify = "right"
    for finding in findings:
        mark = Text("ok", "green") if finding.ok else Text("FAILED", "bold red")
        table.add_row(str(finding.line), finding.check, mark, Text(finding.message))
    data_console().print(table)
    for finding in findings:
        if not finding.ok and finding.script is not None:
            write(f"-- line {finding.line}: a counterexample (DuckDB)\n{finding.script}")
    failed = sum(not finding.ok for finding in findings)
    write(f"{len(findings)} checks, {failed} failed" if failed else f"{len(findings)} checks, all passed")


def _named(name: str) -> RuleDocument:
    """A document of the catalogue, or else of the store."""
    for document in discover():
        if name in (document.name, document.name.rpartition("/")[2]):
            return document
    with _repository() as repository:
        if repository.is_own(name):
            return repository.document(name)
    raise UsageError(f"there is no rule and no file {name!r}", hint="rewriter rules list --all names the rules")


def _to_json(document: RuleDocument) -> dict[str, Any]:
    return {
        "name": document.name,
        "status": document.status,
        "equivalence": document.equivalence,
        "executable": document.executable,
        "kind": kind(document),
        "dialects": list(document.dialects),
        "versions": {name: ", ".join(map(str, bounds)) for name, bounds in document.versions.items()},
        "source": document.source,
        "seen": document.seen,
        "rule": " ".join(document.rule.split()),
        "precondition": " ".join(document.precondition.split()),
    }
