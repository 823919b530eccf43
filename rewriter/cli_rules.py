"""``rewriter rules``: read the catalogue, and check a rule document."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from rewriter.cli_support import EXIT_REFUTED, data_console, fail_softly, write, write_json
from rewriter.engines import scratch
from rewriter.errors import UsageError
from rewriter.rulecheck import Finding, check_rule
from rules.discovery import discover
from rules.rulefile import RuleDocument, read_rule

rules_app = typer.Typer(help="Read the catalogue of rewrite rules, and check rule documents.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="print JSON on stdout")]


@rules_app.command("list")
def rules_list(as_json: JsonOption = False) -> None:
    """All rules: name, family, whether the machine can run it, and what it says."""
    with fail_softly():
        documents = discover()
        if as_json:
            write_json([_to_json(document) for document in documents])
            return
        table = Table("rule", "status", "kind", "what it does", show_lines=False)
        for document in documents:
            table.add_row(document.name, document.status, _kind(document), document.summary)
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

    Exit code 1 when something is missing or wrong; then each finding names the line, and a refuted pair comes with its
    counterexample.
    """
    with fail_softly():
        document = read_rule(Path(file)) if Path(file).is_file() else _named(file)
        with contextlib.closing(scratch()) as hunter:
            findings = list(check_rule(document, hunter))
        failed = [finding for finding in findings if not finding.ok]
        if as_json:
            write_json({"rule": document.name, "ok": not failed, "findings": [asdict(finding) for finding in findings]})
        else:
            _print(document, findings)
    if failed:
        sys.exit(EXIT_REFUTED)


def _print(document: RuleDocument, findings: Sequence[Finding]) -> None:
    table = Table(
        "line", "check", "", "what was found", title=f"{document.name} ({_kind(document)})", title_justify="left"
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
    for document in discover():
        if name in (document.name, document.name.rpartition("/")[2]):
            return document
    raise UsageError(f"there is no rule and no file {name!r}", hint="rewriter rules list names the rules")


def _kind(document: RuleDocument) -> str:
    if document.pattern is not None:
        return "pattern"
    return "executable" if document.executable else "advice"


def _to_json(document: RuleDocument) -> dict[str, Any]:
    return {
        "name": document.name,
        "status": document.status,
        "equivalence": document.equivalence,
        "executable": document.executable,
        "kind": _kind(document),
        "dialects": list(document.dialects),
        "versions": {name: ", ".join(map(str, bounds)) for name, bounds in document.versions.items()},
        "source": document.source,
        "seen": document.seen,
        "rule": " ".join(document.rule.split()),
        "precondition": " ".join(document.precondition.split()),
    }
